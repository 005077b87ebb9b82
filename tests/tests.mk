# tests.mk: how the tests are built and run. Included by the Makefile.
#   make check   builds and runs them; installs nothing      make test   first installs what is missing
#   VARIANT=asan SANITIZE=address,undefined make check       the same under sanitizers, in build/asan

TEST_SRC := $(wildcard tests/unit/test_*.c tests/kernels/*.c tests/parity/test_*.c)
TEST_BIN := $(TEST_SRC:%.c=$(B)/%)
TOOL_BIN := $(B)/tests/parity/forced_logits $(B)/tests/tools/decode

ifneq ($(SANITIZE),)
BASE_FLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS    += -fsanitize=$(SANITIZE)
endif

$(TEST_BIN:=.o) $(TOOL_BIN:=.o): BASE_FLAGS += -Itests
$(TEST_BIN) $(TOOL_BIN): $(B)/%: $(B)/%.o $(B)/tests/fixture.o $(LIB_OBJ) $(PROG_OBJ)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) $(TEST_LDFLAGS) -o $@ $< $(B)/tests/fixture.o $(LIB_OBJ) $(PROG_OBJ) $(PROG_LDLIBS) $(LDLIBS) -lcmocka

# Every allocation of ours in this program goes through the test, which counts them.
$(B)/tests/unit/test_no_allocation: TEST_LDFLAGS = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign

# A session's home is made by the test, which lets it fail.
$(B)/tests/unit/test_model: TEST_LDFLAGS = -Wl,--wrap=b2_cpu_home_create

# What lets memory and system calls fail in the program as it ships (no sanitizer: those have a malloc of their own).
$(B)/tests/faults/fail.so: tests/faults/fail.c
	@mkdir -p $(@D); $(CC) -std=gnu11 -O2 $(WARN) -shared -fPIC -o $@ $< -ldl

# ---- the GPU without one: the kernels' own source as libcuda.so.1 (g++; no CUDA, no clang), and everything of ours that
# calls it, with a stub in place of the PTX texts ------------------------------------------------------------------------
CXX       ?= g++
GPU_B     := $(B)/tests/gpu
GPU_KERNELS ?= src/gpu
FAKE_SRC  := $(GPU_KERNELS)/kernels_gemm.cu $(GPU_KERNELS)/kernels_rows.cu tests/gpu/emu.cpp tests/gpu/fake_cuda.cpp
FAKE_OBJ  := $(FAKE_SRC:%=$(GPU_B)/fake/%.o)
FAKE_FLAGS := -x c++ -std=c++17 -O3 -march=native -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -Wall -Wextra \
              -Wno-unknown-pragmas -Wno-unused-function $(if $(CI),-Werror) '-DB2_EMULATE="tests/gpu/emu.h"' -Isrc -I.
GPU_OBJ   := $(filter-out %/src/gpu/ptx.o,$(LIB_OBJ)) $(B)/tests/gpu/stub_ptx.o
GPU_BIN   := $(GPU_B)/test_verbs $(GPU_B)/test_session $(GPU_B)/blip2
$(GPU_B)/fake/%.o: % src/gpu/lang.h src/gpu/args.h tests/gpu/emu.h
	@mkdir -p $(@D); $(CXX) $(FAKE_FLAGS) -c -o $@ $<
$(GPU_B)/libcuda.so.1: $(FAKE_OBJ)
	@$(CXX) -shared -Wl,-soname,libcuda.so.1 -Wl,-z,nodelete -o $@ $(FAKE_OBJ)
$(GPU_B)/test_%: $(GPU_B)/test_%.o $(GPU_OBJ)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) -o $@ $< $(GPU_OBJ) $(LDLIBS)
.SECONDARY: $(GPU_B)/test_verbs.o $(GPU_B)/test_session.o # make would remove it, and say so after the last line
$(GPU_B)/blip2: $(MAIN_OBJ) $(PROG_OBJ) $(GPU_OBJ)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) -o $@ $(MAIN_OBJ) $(PROG_OBJ) $(GPU_OBJ) $(PROG_LDLIBS) $(LDLIBS)
.PHONY: check-gpu fake-gpu
ifneq ($(shell command -v $(CXX)),)
fake-gpu: $(GPU_B)/libcuda.so.1 $(GPU_BIN)
endif
check-gpu: all $(GPU_B)/verbs_with_ptx ## on a machine with a GPU: every verb at the real model's sizes
	@$(GPU_B)/verbs_with_ptx all
$(GPU_B)/verbs_with_ptx: $(GPU_B)/test_verbs.o $(LIB_OBJ)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) -o $@ $< $(LIB_OBJ) $(LDLIBS)

.PHONY: check test demo deps demo-deps fuzz
check: all $(TEST_BIN) $(TOOL_BIN) $(B)/tests/faults/fail.so fake-gpu ## build and run the tests, installing nothing
	@BLIP2=$(CURDIR)/$(B)/blip2 FAIL=$(CURDIR)/$(B)/tests/faults/fail.so GPU_B=$(CURDIR)/$(GPU_B) CC='$(CC)' PYTHON='$(PYTHON)' sh tests/tools/run.sh tests/gpu/check_fake_gpu.sh tests/cli/run.sh tests/tools/check_faults.sh $(TEST_BIN) tests/tools/check_demo.sh tests/tools/check_job.sh tests/tools/check_lists.sh tests/tools/check_gguf.sh tests/tools/check_install.sh tests/tools/layers_test.sh
# All cores build, unless the caller chose a number.
AGAIN = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
test: deps ## install what is missing (Debian), then build and run all tests
	@$(AGAIN) layers globals
	@$(AGAIN) check
demo: demo-deps ## install what is missing, build, then caption and question the pictures of data/demo
	@$(AGAIN) all
	@BLIP2=$(CURDIR)/$(B)/blip2 sh data/demo/demo.sh
deps:
	@sh tests/tools/install.sh test
demo-deps:
	@sh tests/tools/install.sh build

# ---- kernels of the other ISA, compiled crosswise, run by qemu: they need nothing but kernels, base and quant ------------
ARM_CC   ?= aarch64-linux-gnu-gcc
ARM_QEMU ?= qemu-aarch64-static
ARM_B    := build/arm64
ARM_SRC  := $(wildcard src/base/*.c src/kernels/*.c src/kernels/cpu/*.c src/kernels/ref/*.c src/kernels/arm/*.c quant/half.c) tests/kernels/checkkernels.c
.PHONY: check-arm
$(ARM_B)/%.o: %.c
	@mkdir -p $(@D)
	@$(ARM_CC) $(LANG_FLAGS) -O2 $(KERNEL_FLAGS) $(WARN) -Werror $(target_flags) -MMD -MP -c -o $@ $<
$(ARM_B)/checkkernels: $(ARM_SRC:%.c=$(ARM_B)/%.o)
	@$(ARM_CC) -static -o $@ $^ -lm -lpthread
check-arm: $(ARM_B)/checkkernels ## the ARM kernels against the definition, under qemu
	@$(ARM_QEMU) -cpu max $<
-include $(ARM_SRC:%.c=$(ARM_B)/%.d)

# ---- AMX; on CPUs without it a SIGILL handler carries out the tile instructions of the objects that ship -----------------
AMX_DIR  := $(B)/tests/kernels/amx
AMX_TRAP := $(AMX_DIR)/tile_trap.o
AMX_WRAP := -Wl,--wrap=b2_cpu_features,--wrap=b2_cpu_permit_amx
AMX_BIN  := $(AMX_DIR)/checkamx $(AMX_DIR)/blip2 $(AMX_DIR)/test_bytes
AMX_LINK = @$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) -o $@ $^ $(PROG_LDLIBS) $(LDLIBS) -lcmocka
$(AMX_DIR)/%.o: BASE_FLAGS += -Itests/kernels/amx
$(AMX_TRAP): CFLAGS += -O2
$(AMX_DIR)/checkamx: $(AMX_DIR)/checkamx.o $(AMX_TRAP) $(LIB_OBJ)
	$(AMX_LINK)
$(AMX_DIR)/blip2: $(MAIN_OBJ) $(PROG_OBJ) $(LIB_OBJ) $(AMX_DIR)/pretend.o $(AMX_TRAP)
	$(AMX_LINK) $(AMX_WRAP)
$(AMX_DIR)/test_bytes: $(B)/tests/parity/test_bytes.o $(PROG_OBJ) $(LIB_OBJ) $(AMX_DIR)/pretend.o $(AMX_TRAP)
	$(AMX_LINK) $(AMX_WRAP)
.PHONY: check-amx
check-amx: all $(AMX_BIN) ## AMX kernels, goldens and captions, through a SIGILL trap where the CPU has no AMX (it needs AVX-512 VNNI)
	@BLIP2=$(CURDIR)/$(B)/blip2 AMX=$(CURDIR)/$(AMX_DIR) sh tests/tools/check_amx.sh

# ---- x86 CPUs without AVX, under qemu -----------------------------------------------------------------------------------
.PHONY: check-old-cpu
check-old-cpu: all $(B)/tests/kernels/checkkernels ## program and kernels on CPUs without AVX, under qemu
	@BLIP2=$(CURDIR)/$(B)/blip2 KERNELS=$(CURDIR)/$(B)/tests/kernels/checkkernels sh tests/tools/check_old_cpu.sh

# ---- a cluster ----------------------------------------------------------------------------------------------------------
.PHONY: check-slurm
check-slurm: all ## data/cluster/caption.sbatch on a real Slurm of one node (root; apt install slurmctld slurmd)
	@BLIP2=$(CURDIR)/$(B)/blip2 sh tests/tools/check_slurm.sh

# ---- fuzzers (clang): make fuzz runs each for FUZZ_SECONDS ---------------------------------------------------------
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_SECONDS ?= 60
FB := build/fuzz
FUZZ_FLAGS := -Itests/fuzz $(LANG_FLAGS) -I$(E) -O1 -g $(FEATURE_FLAGS) -DB2_SANITIZED -fno-sanitize-recover=all
# The kernels' inside says nothing about inputs, and takes minutes to compile.
fuzz_sanitizers = -fsanitize=$(if $(filter src/kernels/%,$<),address,fuzzer-no-link$(comma)address$(comma)undefined)
FUZZ_OBJ := $(patsubst %.c,$(FB)/%.o,$(LIB_SRC) $(PROG_SRC))
$(FUZZ_OBJ): | $(WORD_INC) $(PAGE_INC) $(PTX_TEXT)
$(FB)/%.o: %.c
	@mkdir -p $(@D)
	@clang $(FUZZ_FLAGS) $(fuzz_sanitizers) $(target_flags) -MMD -MP -c -o $@ $<
# All objects in one archive: each fuzzer takes out of it what it needs.
$(FB)/all.a: $(FUZZ_OBJ)
	@rm -f $@; ar rcs $@ $^
$(FB)/%: tests/fuzz/%.c $(FB)/all.a
	@clang $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined -MMD -MP -o $@ $< $(FB)/all.a $(PROG_LDLIBS) $(LDLIBS)
-include $(FUZZ_OBJ:.o=.d) $(wildcard $(FB)/fuzz_*.d)
FUZZERS := $(FUZZ_SRC:tests/fuzz/%.c=$(FB)/%)
# The seeds alone come first: they have to bring each fuzzer where it is meant to get (tests/fuzz/reach.h).
fuzz: $(B)/blip2 $(FUZZERS) ## fuzz every parser of outside bytes (clang, Python for the seeds; FUZZ_SECONDS=60 each)
	@$(PYTHON) tests/tools/fuzz_seeds.py $(FB) $(B)/blip2
	@sh tests/tools/fuzz.sh $(FUZZ_SECONDS) $(FUZZERS)

# ---- races (clang): the library and whole jobs under ThreadSanitizer -----------------------------------------------------
# Without BLAS and OpenMP, whose own threads it cannot see into; with the library of JPEG alone.
TSAN_FLAGS := CC=clang VARIANT=tsan SANITIZE=thread CFLAGS='-O1 -g' BLAS=0 OPENMP=0 SPNG=0 WEBP=0 TIFF=0 GIF=0 HEIF=0 AVIF=0 JXL=0 PTX=
TSAN_BIN   := build/tsan/tests/unit/test_races build/tsan/tests/unit/test_base
.PHONY: check-tsan
check-tsan: ## threads, sessions and jobs under ThreadSanitizer (clang; about a minute)
	@$(AGAIN) $(TSAN_FLAGS) build/tsan/blip2 $(TSAN_BIN)
	@BLIP2=$(CURDIR)/build/tsan/blip2 sh tests/tools/check_tsan.sh $(TSAN_BIN)

# ---- a user's real download ------------------------------------------------------------------------------------------
.PHONY: check-real
check-real: all ## compare a real download with published ids: CHECKPOINT=folder [BEACH=file] [CATS=file] [IMAGE=file]
	@BLIP2=$(CURDIR)/$(B)/blip2 CHECKPOINT='$(CHECKPOINT)' BEACH='$(BEACH)' CATS='$(CATS)' IMAGE='$(IMAGE)' EXPECT='$(EXPECT)' \
	    sh tests/tools/check_real.sh
