//! The derive macro of cauce.
