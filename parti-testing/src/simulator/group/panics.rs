//! Panics of a core under test: caught, remembered with their place, and not printed.
//!
//! The process-wide hook is set once and leaves every other panic as it was.

use core::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs something whose panics the caller will catch and report.
pub(in crate::simulator) fn quiet<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                PLACE.replace(place);
                QUIET.set(false);
            } else {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let value = run();
    QUIET.set(false);
    value
}

/// The message of a caught panic and where it happened.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    match PLACE.take() {
        place if place.is_empty() => text,
        place => format!("{text} at {place}"),
    }
}
