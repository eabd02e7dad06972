//! Rebuilds when what is compiled in changes: migrations, templates, the contract.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=templates");
    println!("cargo:rerun-if-changed=openapi.yaml");
}
