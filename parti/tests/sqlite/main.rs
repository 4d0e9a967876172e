//! The store in a file, held to the same requirements as every other backend, and to what only a file meets:
//! other processes that stand still, and people who delete it.

mod files;
mod suite;
mod support;
mod waiting;
