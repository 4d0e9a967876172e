//! A fake world for `parti` and its users: the test kit. This file only declares what there is.
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod kit;
#[cfg(feature = "manager")]
pub mod manager;
#[cfg(feature = "rig")]
pub mod rig;
#[cfg(feature = "simulator")]
pub mod simulator;
#[cfg(feature = "streams")]
pub mod streams;
