//! `evenkeel-bindgen generate LIBRARY --language kotlin|swift --no-format --out-dir DIR`: writes the code
//! that calls the library, from what the library itself says. It has to be unstripped, or the `.a`.

fn main() {
    uniffi::uniffi_bindgen_main();
}
