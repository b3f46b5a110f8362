//! How fast a recorded CONNECT block is understood: by this program, by a search for line ends
//! alone, which is the least that anybody has to do, and by another crate for the same protocol.
//! They take turns, in short rounds: a machine may change its pace for seconds at a time, and then
//! only what was measured within the same moments can be compared.

use std::{hint::black_box, time::Duration};

use bytes::BytesMut;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use openvpn_mgmt_codec::OvpnCodec;
use ovpn_warden::proto::ManagementCodec;
use tokio_util::codec::Decoder;

const RECORDING: &str = include_str!("../tests/data/transcripts/openvpn-2.6.22.txt");
/// Blocks in one buffer: what one read brings in a storm.
const BLOCKS: usize = 8;
/// An odd number: the one in the middle is the verdict's.
const ROUNDS: usize = 15;

/// The first CONNECT block as it was on the wire.
fn block() -> String {
    let mut lines = RECORDING.lines().filter_map(|line| line.strip_prefix("S: "));
    let mut block = String::new();
    for line in lines.by_ref().skip_while(|line| !line.starts_with(">CLIENT:CONNECT,")) {
        block.push_str(line);
        block.push_str("\r\n");
        if line == ">CLIENT:ENV,END" {
            break;
        }
    }
    block
}

/// How long its lines are in all.
fn lines(bytes: BytesMut) -> usize {
    let (mut from, mut sum) = (0, 0);
    for end in memchr::memchr_iter(b'\n', &bytes) {
        sum += black_box(&bytes[from..end]).len();
        from = end + 1;
    }
    sum
}

/// How many messages a decoder finds.
fn all<D: Decoder>(decoder: &mut D, mut bytes: BytesMut) -> usize {
    let mut found = 0;
    while let Ok(Some(message)) = decoder.decode(&mut bytes) {
        black_box(message);
        found += 1;
    }
    found
}

/// The same as the daemon finds them.
fn all_wiped(codec: &mut ManagementCodec, mut bytes: BytesMut) -> usize {
    let mut found = 0;
    while let Ok(Some(message)) = codec.decode_wiped(&mut bytes, false) {
        black_box(message);
        found += 1;
    }
    found
}

fn decode(criterion: &mut Criterion) {
    let bytes = block().repeat(BLOCKS).into_bytes();
    let fresh = || BytesMut::from(&bytes[..]);
    // What does not understand all of it is not compared.
    assert_eq!(all(&mut ManagementCodec::default(), fresh()), BLOCKS);
    assert_eq!(all_wiped(&mut ManagementCodec::default(), fresh()), BLOCKS);
    assert_eq!(all(&mut OvpnCodec::new(), fresh()), BLOCKS);
    let mut group = criterion.benchmark_group("connect_block");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
    for round in 0..ROUNDS {
        let id = |name| BenchmarkId::new(name, round);
        group.bench_function(id("lines_by_memchr"), |bencher| {
            bencher.iter_batched(fresh, lines, BatchSize::SmallInput);
        });
        // As the daemon does: what passwords leave on the stack is overwritten.
        group.bench_function(id("ovpn_warden_wiped"), |bencher| {
            let mut codec = ManagementCodec::default();
            bencher.iter_batched(
                fresh,
                |bytes| all_wiped(&mut codec, bytes),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(id("ovpn_warden"), |bencher| {
            let mut codec = ManagementCodec::default();
            bencher.iter_batched(fresh, |bytes| all(&mut codec, bytes), BatchSize::SmallInput);
        });
        group.bench_function(id("openvpn_mgmt_codec"), |bencher| {
            let mut codec = OvpnCodec::new();
            bencher.iter_batched(fresh, |bytes| all(&mut codec, bytes), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
