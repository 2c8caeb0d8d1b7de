//! Flow records as JSON Lines: reading with the line named in every error, and writing.
