fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap();
    let count: usize = args.next().unwrap().parse().unwrap();
    let n: usize = args.next().unwrap().parse().unwrap();
    let mut tokens = tollgate_bench::Tokens::new(count).reordered(1);
    let keys = tollgate_bench::keys();
    let t = std::time::Instant::now();
    let el;
    match what.as_str() {
        "floor" => {
            let f = tollgate_bench::Floor::new(count);
            let t0 = std::time::Instant::now();
            for _ in 0..n {
                assert!(f.get(&mut tokens));
            }
            el = t0.elapsed();
        }
        "composed" => {
            let f = tollgate_bench::Composed::new(count);
            let t0 = std::time::Instant::now();
            for _ in 0..n {
                assert!(f.get(&mut tokens));
            }
            el = t0.elapsed();
        }
        "get" => {
            let f = tollgate_bench::Tollgate::new(count);
            let t0 = std::time::Instant::now();
            for _ in 0..n {
                assert!(f.get(&mut tokens));
            }
            el = t0.elapsed();
        }
        "claim" => {
            let f = tollgate_bench::Composed::new(count);
            let t0 = std::time::Instant::now();
            for i in 0..n {
                assert!(f.post_claim(&mut tokens, &keys[i % keys.len()]));
            }
            el = t0.elapsed();
        }
        "post" => {
            let f = tollgate_bench::Tollgate::new(count);
            let t0 = std::time::Instant::now();
            for i in 0..n {
                assert!(f.post(&mut tokens, &keys[i % keys.len()]));
            }
            el = t0.elapsed();
        }
        _ => panic!(),
    }
    let _ = t;
    println!("{what} {count}: {:.1} ns", el.as_nanos() as f64 / n as f64);
}
