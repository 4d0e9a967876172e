//! Where partitions come from: a fixed list, a function, or a list kept in a bucket.
//!
//! What always holds: a list is whole, or it is an error.

pub(crate) mod kv_source;
pub(crate) mod source;
