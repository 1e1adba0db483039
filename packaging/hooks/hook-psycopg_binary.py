"""In place of the hook of pyinstaller-hooks-contrib.

That adds psycopg_binary._uuid, which since psycopg 3.3 is a part of psycopg_binary._psycopg.
"""
