"""Answers that were given and what people said of them: kept durably, deleted on time, exported to learn from.

    tables, migrations     what is kept, and how a database comes to this form
    database               a database opened: SQLite with every commit on disk, or PostgreSQL
    records, refusals      what is kept in Python's terms; why feedback is not taken
    stored_text            texts as the policy keeps them: none, masked (spans move along), raw
    text_keys, sealing     raw texts encrypted, each bound to its row; which columns of which rows
    encrypting             texts in the clear, or under an older key, encrypted anew
    recording, writer      one transaction for many waiting writers; the thread that makes it
    store                  Store: what the service asks
    reviewing, erasing     feedback listed and judged; rows deleted until the text is gone from the file
    training_rows          feedback as rows that `data.train` reads
    labels                 whether a right answer fits a model's labels

Nothing here knows of the service, of HTTP or of torch.
"""
