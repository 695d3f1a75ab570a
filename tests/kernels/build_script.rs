//! The build script's modules, compiled into the tests: what it decides, without a compiler and without a GPU.

#[path = "../../build/arch.rs"]
mod arch;
#[path = "../../build/compile.rs"]
mod compile;
#[path = "../../build/nvcc.rs"]
mod nvcc;
#[path = "../../build/toolkit.rs"]
mod toolkit;

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

fn list(text: &str) -> Result<String, String> {
    let archs = arch::parse_list("CUDA_COMPUTE_CAPS", text)?;
    Ok(archs.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

#[test]
fn architecture_lists_are_sorted_and_90_means_hopper() {
    assert_eq!(list(arch::DEFAULT).unwrap(), "80,89,90a");
    assert_eq!(list(" 90a, 80,80 ").unwrap(), "80,90a");
    assert_eq!(list("90").unwrap(), "90a");
    assert_eq!(list("120a,86,100").unwrap(), "86,100,120a");
}

#[test]
fn wrong_architecture_lists_are_named() {
    for (text, item) in
        [("8.9", "8.9"), ("80,", ""), ("sm_80", "sm_80"), ("80;90", "80;90"), ("-80", "-80"), ("9", "9")]
    {
        let expected = format!(
            "CUDA_COMPUTE_CAPS={text}: expected compute capabilities such as 80,89,90a, got {item:?}"
        );
        assert_eq!(list(text).unwrap_err(), expected);
    }
    assert_eq!(
        list("75,80").unwrap_err(),
        "CUDA_COMPUTE_CAPS=75,80: the kernels need compute capability 80 or newer, got 75"
    );
}

#[test]
fn portable_files_bring_ptx_and_hopper_files_are_for_hopper_alone() {
    let archs = arch::parse_list("list", "80,90a").unwrap();
    assert_eq!(
        arch::targets("rms_norm", &archs),
        ["arch=compute_80,code=sm_80", "arch=compute_90a,code=sm_90a", "arch=compute_80,code=compute_80"]
    );
    assert_eq!(arch::targets("attention_prefill_sm90", &archs), ["arch=compute_90a,code=sm_90a"]);
    assert!(arch::targets("attention_prefill_sm90", &archs[..1]).is_empty());
    // A build for one newer card still runs on later ones.
    let ada = arch::parse_list("list", "89").unwrap();
    assert_eq!(arch::targets("embed", &ada)[1], "arch=compute_80,code=compute_80");
    assert_eq!(arch::simulated("embed").to_string(), "80");
    assert_eq!(arch::simulated("matmul_sm90").to_string(), "90a");
    // The crate and the build script mean the same files.
    for kernel in llama_kernels::plan::Kernel::ALL {
        let is_hopper = arch::targets(kernel.family(), &ada).is_empty();
        assert_eq!(kernel.needs(), is_hopper.then_some((9, 0)), "{}", kernel.name());
    }
}

/// `nvcc::find` over made-up variables and files: what it chose, and the variables that it asked for.
fn find(variables: &[(&str, &str)], files: &[&str]) -> (Option<String>, Vec<String>) {
    let asked = RefCell::new(Vec::new());
    let env = |name: &str| {
        asked.borrow_mut().push(name.to_string());
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| OsString::from(value))
    };
    let is_file = |path: &Path| files.iter().any(|file| path == Path::new(file));
    let found = nvcc::find(&env, &is_file).map(|path| path.display().to_string());
    (found, asked.into_inner())
}

#[test]
fn the_search_for_nvcc_keeps_its_order() {
    let pinned = "/home/u/.cache/llama-kernels/cuda-13.0.88/site-packages/nvidia/cu13/bin/nvcc";
    let mut variables = vec![
        ("NVCC", "/one/nvcc"),
        ("HOME", "/home/u"),
        ("CUDA_HOME", "/two"),
        ("CUDA_PATH", "/three"),
        ("PATH", "/usr/bin:/four:/five"),
    ];
    let mut files = vec![
        pinned,
        "/two/bin/nvcc",
        "/three/bin/nvcc",
        "/four/nvcc",
        "/five/nvcc",
        "/usr/local/cuda/bin/nvcc",
    ];
    // NVCC is believed even where there is no such file: the error comes when it is run.
    assert_eq!(find(&variables, &files).0.unwrap(), "/one/nvcc");
    variables.remove(0);
    while !files.is_empty() {
        assert_eq!(find(&variables, &files).0.unwrap(), files[0]);
        files.remove(0);
    }
    assert_eq!(find(&variables, &files).0, None);
}

#[test]
fn only_variables_that_matter_are_asked_for() {
    let (_, asked) = find(&[("NVCC", "nvcc")], &[]);
    assert_eq!(asked, ["NVCC"]);
    let (found, asked) = find(
        &[("LLAMA_KERNELS_CUDA_DIR", "/cuda"), ("PATH", "/four")],
        &["/cuda/site-packages/nvidia/cu13/bin/nvcc", "/four/nvcc"],
    );
    assert_eq!(found.unwrap(), "/cuda/site-packages/nvidia/cu13/bin/nvcc");
    assert_eq!(asked, ["NVCC", "LLAMA_KERNELS_CUDA_DIR"], "PATH differs between a shell and an editor");
}

#[test]
fn the_cache_follows_the_xdg_rules() {
    let root = |variables: &[(&str, &str)]| {
        let env = |name: &str| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| OsString::from(value))
        };
        toolkit::cache_root(&env).zip(toolkit::setup_stamp(&env)).map(|(root, stamp)| {
            assert_eq!(stamp, root.join("setup.stamp"));
            root.display().to_string()
        })
    };
    assert_eq!(root(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]).unwrap(), "/c/llama-kernels");
    assert_eq!(root(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")]).unwrap(), "/h/.cache/llama-kernels");
    assert_eq!(root(&[]), None);
}

#[test]
fn versions_are_read_from_nvcc_and_compared() {
    let text = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 13.0, V13.0.88\nBuild cuda_13\n";
    let version = nvcc::parse_version(text).unwrap();
    assert_eq!(version.to_string(), toolkit::PINNED);
    assert!(nvcc::parse_version("release 12.9, V12.9.41").unwrap() < version);
    for text in ["", "release 13.0, V13", "gcc (Debian) 12.2.0", "release 13.0, Vx.y.z"] {
        assert_eq!(nvcc::parse_version(text), None, "{text}");
    }
}

#[test]
fn an_nvcc_that_cannot_run_is_named() {
    let error = nvcc::version(Path::new("no-such-nvcc")).unwrap_err();
    assert!(error.starts_with("cannot run nvcc, no-such-nvcc: "), "{error}");
}

#[test]
fn ptx_names_no_path_of_the_machine() {
    let ptx = "\t.loc\t1 4 0\n\t.file\t1 \"/home/u/crate/cuda/embed.cu\"\n\t.file\t2 \"/opt/cuda/bin/..//include/x.hpp\"\n";
    let expected = "\t.loc\t1 4 0\n\t.file\t1 \"cuda/embed.cu\"\n\t.file\t2 \"x.hpp\"\n";
    assert_eq!(compile::relative_paths(ptx, Path::new("/home/u/crate")), expected);
}

#[test]
fn a_missing_host_compiler_is_explained() {
    let failure = |message| compile::failure(Path::new("cuda/embed.cu"), Path::new("/opt/nvcc"), message);
    assert_eq!(failure("embed.cu(3): error\n"), "/opt/nvcc failed on cuda/embed.cu:\nembed.cu(3): error");
    let message =
        "gcc: No such file or directory\nnvcc fatal   : Failed to preprocess host compiler properties.";
    assert!(failure(message).ends_with("install g++, or say in NVCC_CCBIN where one is"));
}

/// The cache, with a shell script in nvcc's place.
mod cache {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::compile::{self, Compiler, Job, Output};
    use super::{Path, PathBuf, nvcc};

    struct Crate(PathBuf);

    impl Crate {
        /// A crate with one kernel that includes one header, and a compiler that runs `script`.
        fn new(name: &str, script: &str) -> Self {
            let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            // Left by an earlier run.
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(root.join("cuda/common")).unwrap();
            fs::create_dir_all(root.join("cache")).unwrap();
            let made = Crate(root);
            made.write("cuda/one.cu", "#include \"common/a.cuh\"\n#include <cuda_fp16.h>\n");
            made.write("cuda/common/a.cuh", "#  include \"../b.h\"\n");
            made.write("cuda/b.h", "// #include nothing\n");
            made.write("nvcc", &format!("#!/bin/sh\n{script}\n"));
            fs::set_permissions(made.0.join("nvcc"), fs::Permissions::from_mode(0o755)).unwrap();
            made
        }

        fn write(&self, file: &str, text: &str) {
            fs::write(self.0.join(file), text).unwrap();
        }

        fn compiler(&self, identity: &str) -> Compiler {
            Compiler {
                nvcc: self.0.join("nvcc"),
                version: nvcc::Version { cuda: (12, 0), patch: 1 },
                identity: identity.into(),
                root: self.0.clone(),
                cache: self.0.join("cache"),
            }
        }

        /// How often the compiler ran.
        fn runs(&self) -> usize {
            fs::read_to_string(self.0.join("log")).unwrap_or_default().lines().count()
        }
    }

    #[test]
    fn an_nvcc_that_is_too_old_or_none_is_named() {
        let version = |name, script| {
            let made = Crate::new(name, script);
            nvcc::version(&made.0.join("nvcc")).map(|(version, text)| (version.cuda, text))
        };
        let told = version("nvcc-good", "echo 'release 12.0, V12.0.76'").unwrap();
        assert_eq!(told, (nvcc::OLDEST, "release 12.0, V12.0.76\n".into()));
        let error = version("nvcc-old", "echo 'release 11.8, V11.8.89'").unwrap_err();
        assert!(error.contains("nvcc-old/nvcc is CUDA 11.8, the kernels need 12.0 or newer"), "{error}");
        let error = version("nvcc-none", "echo hello; echo broken >&2").unwrap_err();
        assert!(
            error.ends_with("nvcc-none/nvcc --version does not answer as nvcc does:\nhello\nbroken\n"),
            "{error}"
        );
        assert!(version("nvcc-fails", "echo 'release 12.0, V12.0.76'; exit 1").is_err());
    }

    /// Logs its run and writes its last two arguments, the output and the source, into the output.
    const WORKS: &str = "echo run >> log; while [ \"$1\" != -o ]; do shift; done; echo \"$3\" > \"$2\"";

    fn job(targets: &[&str]) -> Vec<Job> {
        let targets = targets.iter().map(ToString::to_string).collect();
        vec![Job { family: "one", output: Output::Fatbin(targets) }]
    }

    #[test]
    fn an_object_is_compiled_once_for_all_that_it_comes_from() {
        let made = Crate::new("cache-hit", WORKS);
        let compile = |identity, targets: &[&str]| made.compiler(identity).compile(&job(targets), 2).unwrap();
        let first = compile("13", &["a"]);
        assert_eq!(fs::read_to_string(&first[0]).unwrap(), "cuda/one.cu\n");
        assert_eq!((compile("13", &["a"]), made.runs()), (first.clone(), 1));
        // Flags, compiler, and a header two includes away.
        assert_ne!(compile("13", &["a", "b"]), first);
        assert_ne!(compile("13.1", &["a"]), first);
        assert_eq!(made.runs(), 3);
        made.write("cuda/b.h", "// changed\n");
        assert_ne!(compile("13", &["a"]), first);
        assert_eq!(made.runs(), 4);
        // The old state is still there.
        made.write("cuda/b.h", "// #include nothing\n");
        assert_eq!((compile("13", &["a"]), made.runs()), (first, 4));
    }

    #[test]
    fn a_failure_names_file_and_message_and_leaves_nothing() {
        let made = Crate::new(
            "cache-failure",
            "echo half > \"$PWD/cache/one.partial\"; echo 'one.cu(1): boom' >&2; exit 2",
        );
        fs::remove_dir_all(made.0.join("cache")).unwrap();
        fs::create_dir(made.0.join("cache")).unwrap();
        let error = made.compiler("13").compile(&job(&["a"]), 1).unwrap_err();
        assert!(error.ends_with("nvcc failed on cuda/one.cu:\none.cu(1): boom"), "{error}");
        let left = fs::read_dir(made.0.join("cache")).unwrap();
        assert!(left.flatten().all(|file| !file.file_name().to_string_lossy().ends_with("fatbin")));

        made.write("cuda/common/a.cuh", "#include \"gone.h\"\n");
        let error = made.compiler("13").compile(&job(&["a"]), 1).unwrap_err();
        assert!(error.starts_with("cuda/common/gone.h: "), "{error}");
    }

    #[test]
    fn builds_at_the_same_time_see_whole_objects() {
        let made = Crate::new("cache-race", &format!("{WORKS}; sleep 0.05; echo end >> \"$2\""));
        std::thread::scope(|scope| {
            let builds: Vec<_> =
                (0..4).map(|_| scope.spawn(|| made.compiler("13").compile(&job(&["a"]), 1))).collect();
            for build in builds {
                let object = build.join().unwrap().unwrap().remove(0);
                assert_eq!(fs::read_to_string(object).unwrap(), "cuda/one.cu\nend\n");
            }
        });
    }

    #[test]
    fn the_simulator_gets_deflated_ptx() {
        let script =
            r#"while [ "$1" != -o ]; do shift; done; printf '\t.file\t1 "%s/cuda/one.cu"\n' "$PWD" > "$2""#;
        let made = Crate::new("cache-ptx", script);
        let jobs = vec![Job { family: "one", output: Output::Ptx(super::arch::OLDEST) }];
        let object = made.compiler("13").compile(&jobs, 1).unwrap().remove(0);
        let ptx = miniz_oxide::inflate::decompress_to_vec(&fs::read(object).unwrap()).unwrap();
        assert_eq!(ptx, b"\t.file\t1 \"cuda/one.cu\"\n");
    }

    #[test]
    fn includes_are_followed_and_flags_suit_the_compiler() {
        let made = Crate::new("cache-closure", WORKS);
        let files = compile::closure(&made.0, Path::new("cuda/one.cu")).unwrap();
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        assert_eq!(files, ["cuda/b.h", "cuda/common/a.cuh", "cuda/one.cu"]);

        let flags = |cuda, patch| job(&["t"])[0].flags(nvcc::Version { cuda, patch }).join(" ");
        assert_eq!(flags((12, 7), 1), "-O3 -std=c++17 -fatbin -Xfatbin=-compress-all -gencode=t");
        assert_eq!(flags((12, 8), 1), "-O3 -std=c++17 -fatbin --compress-mode=size -gencode=t");
        assert!(flags((13, 0), 88).contains("-Werror=all-warnings"));
    }
}
