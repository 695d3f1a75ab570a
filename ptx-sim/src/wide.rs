//! Functions compiled twice: for any CPU of the architecture, and for its vector instructions.

/// Defines a function whose body is compiled for AVX2 too, and runs that way where the CPU has it. What the body calls
/// in its loops is to be marked `#[inline(always)]`.
macro_rules! wide_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $result)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
                fn wide($($arg: $ty),*) $(-> $result)? {
                    body($($arg),*)
                }
                if $crate::alu::has_wide_vectors() {
                    // SAFETY: the CPU has the features, as was asked just now.
                    return unsafe { wide($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}

pub(crate) use wide_fn;
