//! The protobuf cursor: any bytes end in a field list or an error, and every position stays within the message.

use _native::wire::proto::Reader;

pub fn target(data: &[u8]) {
    let mut reader = Reader::new(data);
    while let Ok(Some((number, wire))) = reader.field() {
        let before = reader.pos();
        if reader.skip(number, wire).is_err() {
            break;
        }
        assert!(reader.pos() >= before && reader.pos() <= data.len());
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![
            0x08, 0x96, 0x01, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 0x02, b'h', b'i', 0x25, 0, 0, 0,
            0,
        ],
        vec![0x2b, 0x33, 0x34, 0x08, 0x01, 0x2c],
    ]
}
