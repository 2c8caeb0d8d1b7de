//! The graph on disk: SQLite, with migrations.
