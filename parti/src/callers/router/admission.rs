//! Whether a request is taken: the token that its caller knows, against what is held here.
//!
//! It is separate because that no request is handled by two owners hangs on it. What always holds: what is
//! taken is taken in the name of an ownership that is not older than the one the caller means.

use parti_core::Token;

/// What is held here of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing, as far as is remembered.
    Nothing,
    /// It was held, or is being given back.
    Over(Token),
    /// It is owned, and the guard is valid.
    Open(Token),
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is handled.
    Serve,
    /// The ownership it means has not begun here.
    Wait,
    /// What it means is over, up to this token.
    Over(Token),
}

/// What becomes of a request that means the ownership `asked`.
pub(super) fn admit(held: Held, asked: Token) -> Admission {
    match held {
        Held::Open(token) if asked <= token => Admission::Serve,
        Held::Over(token) if asked <= token => Admission::Over(token),
        // The caller has seen a later one: it is to begin here, since this is where the caller was sent.
        Held::Nothing | Held::Open(_) | Held::Over(_) => Admission::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An owner of before that takes a request beside the present one handles it a second time; one that
    /// refuses what is about to be its own sends the caller in circles.
    #[test]
    fn only_the_ownership_that_is_meant_or_a_later_one_takes_a_request() {
        let token = Token::new;
        let cases = [
            (Held::Nothing, 7, Admission::Wait),
            (Held::Open(token(7)), 7, Admission::Serve),
            (Held::Open(token(7)), 6, Admission::Serve),
            (Held::Open(token(7)), 0, Admission::Serve),
            (Held::Open(token(7)), 8, Admission::Wait),
            (Held::Over(token(7)), 7, Admission::Over(token(7))),
            (Held::Over(token(7)), 6, Admission::Over(token(7))),
            (Held::Over(token(7)), 8, Admission::Wait),
        ];
        for (held, asked, expected) in cases {
            assert_eq!(admit(held, token(asked)), expected, "{held:?}, {asked}");
        }
    }
}
