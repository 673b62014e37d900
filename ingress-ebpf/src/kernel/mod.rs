//! Everything that exists in the kernel only.

mod bench;
mod frame;
mod hook;
#[cfg(feature = "log")]
mod log;
mod maps;
mod observe;
mod programs;
mod skb;
mod socket;
mod view;

/// Never reached: the verifier refuses a program that could panic.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel gives the socket look-ups to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
