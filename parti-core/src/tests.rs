//! What holds for the words and refusals of all modules together: tables, so that a new one is seen.

mod refusals;
mod words;
