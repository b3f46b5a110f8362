//! Puts `compares.c` between the instrumentation and libFuzzer.

fn main() {
    const FILE: &str = "compares.c";
    println!("cargo:rerun-if-changed={FILE}");
    cc::Build::new().file(FILE).opt_level(2).compile("compares");
    let widths = ["1", "2", "4", "8"];
    let sized = widths.map(|width| [format!("cmp{width}"), format!("const_cmp{width}")]);
    for name in sized.into_iter().flatten().chain(["switch".into()]) {
        println!("cargo:rustc-link-arg-bins=-Wl,--wrap=__sanitizer_cov_trace_{name}");
    }
}
