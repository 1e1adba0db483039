from evtools.doctor.options import OUTPUTS, DoctorOptions


def test_nothing_is_removed_unless_somebody_says_yes():
    options = DoctorOptions()
    assert not options.fix
    assert not options.confirm("Remove everything?")
    assert options.output in OUTPUTS
