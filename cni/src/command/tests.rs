//! Whole calls without privilege.
