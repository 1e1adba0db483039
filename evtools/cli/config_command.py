import click
@click.command()
def evconfig(): pass
