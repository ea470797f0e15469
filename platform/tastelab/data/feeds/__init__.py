"""Public feeds as people really get them → posts, reactions and accounts, streamed; one file a source."""
