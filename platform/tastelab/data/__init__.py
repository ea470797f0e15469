"""Raw sources → tables → tokens → stream.

`catalog.resolve` turns a name or a folder into a prepared data set; `tables` says what one is; one module per corpus
(`mind`, `synthetic`, …) writes it; `tokens`, `sampling`, `stream` and `collate` bring it to the model as batches. For
candidate generation, `sequences`, `clicks`, `sequence_stream` and `sequence_collate` do so with every user's clicks.
"""
