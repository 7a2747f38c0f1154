//! Files that are broken or made to break the reader: an error or a map, never a panic, a hang or
//! memory beyond a bound.

mod damage;

use std::{io::Write, path::Path};

use damage::{Damage, NUMBERS, READERS, intact, measure, most_memory};
use proptest::prelude::*;
use residual_weights::{FormatError, inspect, load_bytes, npy, pth, safetensors};

fn assert_survives(bytes: &[u8]) {
    for reader in READERS {
        let (_, used) = measure(reader, bytes);
        let most = most_memory(bytes.len());
        assert!(used <= most, "{} took {used} bytes for a file of {}", reader.0, bytes.len());
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<usize>;
    let number = (prop::sample::select(&NUMBERS[..]), prop::sample::select(vec![1usize, 2, 4, 8]))
        .prop_map(|(number, size)| number.to_le_bytes()[..size].to_vec());
    let bytes = prop_oneof![number, prop::collection::vec(any::<u8>(), 1..9)];
    prop_oneof![
        at().prop_map(Damage::Truncate),
        (at(), any::<u8>()).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), bytes.clone()).prop_map(|(at, with)| Damage::Overwrite(at, with)),
        (at(), bytes).prop_map(|(at, what)| Damage::Insert(at, what)),
        (at(), at()).prop_map(|(at, count)| Damage::Remove(at, count)),
        (at(), at()).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_files(file in prop::sample::select(intact()), damages in prop::collection::vec(damage(), 1..6)) {
        let (_, mut bytes) = file;
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        assert_survives(&bytes);
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_survives(&bytes);
    }

    #[test]
    fn a_header_of_any_length_before_little(length in any::<u64>(), rest in ".{0,40}") {
        assert_survives(&[&length.to_le_bytes(), rest.as_bytes()].concat());
    }

    #[test]
    fn any_shape_in_a_header(shape in prop::collection::vec(length(), 0..5), fortran in any::<bool>()) {
        let axes = shape.iter().map(|n| format!("{n},")).collect::<String>();
        let list = axes.trim_end_matches(',');
        let json = format!(r#"{{"w":{{"dtype":"F32","shape":[{list}],"data_offsets":[0,0]}}}}"#);
        assert_survives(&[&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat());
        let order = if fortran { "True" } else { "False" };
        let literal = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': ({axes}), }}");
        let length = (literal.len() as u16).to_le_bytes();
        assert_survives(&[b"\x93NUMPY\x01\0", &length[..], literal.as_bytes()].concat());
    }
}

/// The length of an axis: none, or one with which arithmetic goes wrong.
fn length() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), prop::sample::select(&NUMBERS[..])]
}

/// Every position of a small file, and about this many of a large one.
fn positions(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
    (0..bytes.len()).step_by(1 + bytes.len() / 1500)
}

#[test]
fn truncation_is_noticed() {
    for (name, bytes) in intact() {
        // The end of an ONNX file is marked by nothing; what was cut off must then be missed.
        let whole = inspect::inspect_bytes(&bytes, true).ok().filter(|_| name.ends_with(".onnx"));
        for end in positions(&bytes) {
            assert_survives(&bytes[..end]);
            let cut = &bytes[..end];
            let inspected = whole.is_some() && inspect::inspect_bytes(cut, true).ok() == whole;
            let passes = inspected || load_bytes(cut).is_ok() || npy::read_bytes(cut).is_ok();
            assert!(!passes, "{name} cut to {end} bytes passes for whole");
        }
    }
}

#[test]
fn flipped_bits_are_survived() {
    for (_, intact) in intact() {
        for at in positions(&intact) {
            let mut bytes = intact.clone();
            Damage::Flip(at, at as u8).apply(&mut bytes);
            assert_survives(&bytes);
        }
    }
}

/// A `.pth` of this pickle and a storage `0`, compressed as well as it goes.
fn archive(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in [("a/data.pkl", pickle), ("a/data/0", storage)] {
        let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(content).unwrap();
        let packed = packed.finish().unwrap();
        let mut common = vec![20, 0, 0, 0, 8, 0];
        common.extend([0; 8]); // time, date, checksum
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        let start = archive.len() as u32;
        archive.extend(b"PK\x03\x04");
        archive.extend(&common);
        archive.extend([0; 2]);
        archive.extend(name.as_bytes());
        archive.extend(packed);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(common);
        directory.extend([0; 12]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = archive.len() as u32;
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0\x02\0\x02\0");
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0; 2]);
    archive
}

/// The pickle of `{"w": _rebuild_tensor_v2(storage of `elements` floats, offset, shape, strides)}`.
fn tensor(elements: u32, offset: u32, shape: &[u32], strides: &[u32]) -> Vec<u8> {
    let int = |n: u32| [b"J", &n.to_le_bytes()[..]].concat();
    let ints =
        |list: &[u32]| [b"(", &list.iter().flat_map(|&n| int(n)).collect::<Vec<_>>()[..], b"t"].concat();
    [
        b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu",
        &int(elements)[..],
        b"tQ",
        &int(offset),
        &ints(shape),
        &ints(strides),
        b"\x89NtRs.",
    ]
    .concat()
}

#[test]
fn a_pickle_made_by_hand_is_read() {
    let storage: Vec<u8> = (0..6).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let weights = load_bytes(&archive(&tensor(6, 1, &[2, 2], &[1, 2]), &storage)).unwrap();
    assert_eq!(weights.get("w").unwrap().to_float::<f32>().to_vec(), [1.0, 3.0, 2.0, 4.0]);
}

#[test]
fn views_that_leave_their_storage_are_refused() {
    let storage = [0; 24];
    for (elements, offset, shape, strides) in [
        (6, 6, &[1][..], &[1][..]),
        (6, 0, &[7], &[1]),
        (6, 0, &[2, 3], &[4, 1]),
        (6, 0, &[2], &[0x7fff_ffff]),
        (6, 0x7fff_ffff, &[1], &[1]),
        (6, 0, &[0xffff_ffff], &[1]), // negative
        (6, 0, &[2, 3], &[3]),
        (6, 0, &[0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff], &[1, 1, 1]),
        (7, 0, &[1], &[1]), // more than the record holds
    ] {
        let bytes = archive(&tensor(elements, offset, shape, strides), &storage);
        assert!(load_bytes(&bytes).is_err(), "{elements} {offset} {shape:?} {strides:?}");
        assert_survives(&bytes);
    }
}

#[test]
fn zip_bombs_are_refused_before_they_go_off() {
    let megabytes = 16 << 20;
    let bomb = archive(&tensor(megabytes / 4, 0, &[megabytes / 4], &[1]), &vec![0; megabytes as usize]);
    assert!(matches!(load_bytes(&bomb), Err(FormatError::Expansion { .. })));
    assert_survives(&bomb);
    // Few elements far into a compressed storage, and one element seen as many.
    let far = archive(&tensor(megabytes / 4, megabytes / 4 - 1, &[1], &[1]), &vec![0; megabytes as usize]);
    assert!(matches!(load_bytes(&far), Err(FormatError::Expansion { .. })));
    let many = archive(&tensor(1, 0, &[1 << 15, 1 << 15], &[0, 0]), &[0; 4]);
    assert!(matches!(load_bytes(&many), Err(FormatError::Expansion { .. })));
    assert_survives(&many);
    let text = [&b"\x80\x02X"[..], &megabytes.to_le_bytes(), &vec![b'a'; megabytes as usize], b"."].concat();
    let text = archive(&text, &[]);
    assert!(matches!(load_bytes(&text), Err(FormatError::Expansion { .. })));
    assert_survives(&text);
    // Values without end.
    for operation in [b"N", b")", b"(", b"}", b"\x94"] {
        let pickle = [&b"\x80\x02N"[..], &operation.repeat(4 << 20)].concat();
        let bomb = archive(&pickle, &[]);
        assert!(matches!(load_bytes(&bomb), Err(FormatError::Expansion { .. })), "{operation:?}");
        assert_survives(&bomb);
    }
}

#[test]
fn nesting_and_cycles_end() {
    let mut noise = 1u32;
    let long: Vec<u8> = (0..1 << 20) // so that the file is long enough for so many values
        .map(|_| {
            noise = noise.wrapping_mul(1664525).wrapping_add(1013904223);
            (noise >> 24) as u8
        })
        .collect();
    let deep = [&b"\x80\x02)"[..], &b"\x85".repeat(100_000), b"."].concat();
    assert!(matches!(load_bytes(&archive(&deep, &long)), Err(FormatError::NoStateDict { .. })));
    let itself = b"\x80\x02}q\x00U\x0astate_dicth\x00s."; // d = {}; d["state_dict"] = d
    assert!(matches!(load_bytes(&archive(itself, &[])), Err(FormatError::NoStateDict { .. })));
}

/// Names that would run code in Python, or make something that is not read.
const FOREIGN: [(&str, &str); 6] = [
    ("os", "system"),
    ("builtins", "eval"),
    ("torch", "load"),
    ("torch._utils", "_rebuild_tensor_v9"),
    ("torch", "EvilStorage"),
    ("collections", "OrderedDict.fromkeys"),
];

/// A pickle that has `module.name` called with `touch FILE`.
fn call(module: &str, name: &str, file: &Path) -> Vec<u8> {
    let command = format!("touch {}", file.display());
    let head = format!("c{module}\n{name}\nU");
    [head.as_bytes(), &[command.len() as u8], command.as_bytes(), b"\x85R"].concat()
}

#[test]
fn nothing_but_the_allow_list_makes_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("executed");
    for (module, name) in FOREIGN {
        let foreign = format!("{module}.{name}");
        let pickle = [b"\x80\x02", &call(module, name, &file)[..], b"."].concat();
        let Err(FormatError::Object { name: refused }) = pth::read_bytes(&archive(&pickle, &[])) else {
            panic!("{foreign} passed");
        };
        assert_eq!(refused, foreign);
        assert!(!file.exists());
    }
}

#[test]
fn what_foreign_names_make_beside_tensors_is_left_out_and_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("executed");
    let tensor = tensor(6, 0, &[2], &[1]);
    let inner = &tensor[2..tensor.len() - 1]; // without the protocol, and without the end
    for (module, name) in FOREIGN {
        let call = call(module, name, &file);
        // {"state_dict": {"w": …}, "x": module.name("touch …")}
        let pickle = [b"\x80\x02}(U\x0astate_dict", inner, b"U\x01x", &call, b"u."].concat();
        let bytes = archive(&pickle, &[0; 24]);
        let weights = pth::read_bytes(&bytes).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["w"], "{module}.{name}");
        assert_survives(&bytes);
        // {"w": …, "x": …}: it could be a tensor if its name is PyTorch's for one.
        let pickle = [b"\x80\x02", inner, b"U\x01x", &call, b"s."].concat();
        let read = pth::read_bytes(&archive(&pickle, &[0; 24]));
        let is_tensor = name.starts_with("_rebuild") || name.ends_with("Storage");
        assert_eq!(read.is_err(), is_tensor, "{module}.{name}");
        assert!(!file.exists());
    }
}

#[test]
fn a_tensor_of_foreign_parts_is_refused() {
    // Its storage, its shape, its name.
    let good = tensor(6, 0, &[2], &[1]);
    let change = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|bytes| bytes == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    for pickle in [
        change(b"ctorch\nFloatStorage\n", b"cos\nsystem\n"),
        change(b"(J\x02\0\0\0t", b"cos\nsystem\n)R"),
        change(b"U\x01w", b"cos\nsystem\n)R"),
        change(b"torch._utils\n_rebuild_tensor_v2", b"torch._utils\n_rebuild_evil"),
    ] {
        let bytes = archive(&pickle, &[0; 24]);
        assert!(pth::read_bytes(&bytes).is_err());
        assert_survives(&bytes);
    }
}

/// `message` as field `number` of another.
fn field(number: u8, message: &[u8]) -> Vec<u8> {
    let length = message.len();
    [&[number << 3 | 2, length as u8 & 0x7f | 0x80, (length >> 7) as u8][..], message].concat()
}

#[test]
fn messages_that_contradict_themselves_are_refused() {
    let graph = |tensor: &[u8]| [b"\x08\x08", &field(7, &field(5, tensor))[..], b"B\x02\x10\x11"].concat();
    let four = [&b"\x08\x04\x10\x01"[..], &field(8, b"w"), &field(9, &[0; 16])].concat();
    let good = graph(&four);
    assert_eq!(inspect::inspect_bytes(&good, true).unwrap().elements(), 4);
    let cases = [
        graph(&four[..four.len() - 1]),                  // elements beyond their message
        graph(&[&b"\x08\x05"[..], &four[2..]].concat()), // a shape of five for four elements
        graph(&b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f".repeat(3)), // a shape beyond memory
        graph(&b"\x08\x01".repeat(65)),                  // too many axes
        graph(&[0x08; 12].map(|_| 0xff)),                // a number without end
        graph(b"\x0b"),                                  // groups, which are long gone
        b"\x08\x08\x12\x01a".to_vec(),                   // no graph
        good[..good.len() - 1].to_vec(),
        [&good[..], b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"].concat(), // longer than the file
    ];
    for bytes in cases {
        assert!(inspect::inspect_bytes(&bytes, true).is_err(), "{bytes:?}");
        assert_survives(&bytes);
    }
    assert!(matches!(load_bytes(&good), Err(FormatError::Onnx)));
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let file = |json: &str, data: usize| {
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat()
    };
    let one = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    assert!(safetensors::read_bytes(&file(&format!("{{{one}}}"), 8)).is_ok());
    for (json, data) in [
        (format!("{{{one}}}"), 7),
        (format!("{{{one}}}"), 9),
        (format!("{{{one},{one}}}"), 8),
        (format!("{{{one},{}}}", one.replace("[0,8]", "[8,8]").replace("[2]", "[0]")), 8),
        (format!("{{{one},{}}}", one.replace("\"a\"", "\"b\"")), 8),
        (
            format!(
                "{{{one},{}}}",
                one.replace("\"a\"", "\"b\"").replace("[0,8]", "[8,16]").replace("[2]", "[3]")
            ),
            16,
        ),
        (format!("{{{}}}", one.replace("[2]", "[4294967296,4294967296]")), 8),
        (format!("{{{}}}", one.replace("F32", "F8_E4M3").replace("[2]", "[8]")), 8),
        (format!("{{{}}}", one.replace("[2]", "[-2]")), 8),
        ("[]".into(), 0),
        ("{".into(), 0),
    ] {
        assert!(safetensors::read_bytes(&file(&json, data)).is_err(), "{json}");
    }
    // Tensors that are possible one by one, and together end just before 2⁶⁴.
    let size = (1u128 << 61) - 1;
    let tensor = |i| {
        let (start, end) = (i * size, (i + 1) * size);
        format!(r#""{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#)
    };
    let json = format!("{{{}}}", (0..8).map(tensor).collect::<Vec<_>>().join(","));
    assert!(matches!(safetensors::read_bytes(&file(&json, 0)), Err(FormatError::Truncated)));
    assert!(npy::read_bytes(b"\x93NUMPY\x01\0\x01\0\n").is_err());
}
