//! Records that cannot be read, and such as are whole only together.

use super::*;

/// One damaged record must not make a worker's partitions look free.
#[test]
fn what_cannot_be_read_is_named_and_stays_as_it_was_known() {
    let mut reader = Reader::new();
    reader.session(1, |_| {});
    reader.assignment(1, &[("p", 3)], &[]);
    reader.put(assignment_key(&worker(1)), Some(vec![1, 2, 3]));
    let named = |reader: &Reader| {
        let unreadable = reader.view().unreadable;
        unreadable.into_iter().map(|u| u.key).collect::<Vec<_>>()
    };
    assert_eq!(named(&reader), [assignment_key(&worker(1))]);
    assert_eq!(reader.owner("p"), Some((worker(1), 3)));
    reader.assignment(1, &[("p", 3)], &[]);
    assert!(named(&reader).is_empty());
    reader.put(session_key(&worker(2)), Some(vec![1]));
    assert_eq!(named(&reader), [session_key(&worker(2))]);
}

/// A group too large for one value must be read like any other, and never half of it.
#[test]
fn an_assignment_in_pieces_counts_when_it_is_whole() {
    let mut reader = Reader::new();
    reader.session(1, |_| {});
    let whole = assignment(&[("p", 3)], &[]);
    let piece = AssignmentPiece {
        write: WRITE,
        granted: whole.granted,
        revoking: Vec::new(),
        preparing: Vec::new(),
    };
    let (number, digest, granted) = (1, piece.digest(), 1);
    let manifest = Manifest {
        write: WRITE,
        version: whole.version,
        epoch: whole.epoch,
        session: crate::model::id::Nonce::new(0),
        pieces: vec![PieceStamp {
            number,
            digest,
            granted,
        }],
    };
    reader.write(assignment_key(&worker(1)), &Record::Manifest(manifest));
    assert_eq!(reader.owner("p"), None);
    assert_eq!(reader.view().unreadable.len(), 1);
    reader.write(piece_key(&worker(1), 1), &Record::Piece(piece));
    assert_eq!(reader.owner("p"), Some((worker(1), 3)));
    assert_eq!(reader.view().unreadable.len(), 0);
}
