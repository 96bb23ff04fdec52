//! The program is linked to one address: to be loaded anywhere, it would have thirty thousand pointers to put right
//! before it begins, in each process of it. `docs/decisions/0015-linked-to-one-address.md` says what that costs and what not.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
