//! The kernel program as user space sees it: loading, maps, walking, first sights.
