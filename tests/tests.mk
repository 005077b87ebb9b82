# tests.mk: how the tests are built and run. Included by the Makefile.
#   make check   builds and runs them; installs nothing      make test   first installs what is missing
#   VARIANT=asan SANITIZE=address,undefined make check       the same under sanitizers, in build/asan

TEST_SRC := $(wildcard tests/unit/test_*.c tests/kernels/*.c tests/parity/test_*.c)
TEST_BIN := $(TEST_SRC:%.c=$(B)/%)
TOOL_BIN := $(B)/tests/parity/forced_logits

ifneq ($(SANITIZE),)
BASE_FLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS    += -fsanitize=$(SANITIZE)
endif

$(TEST_BIN:=.o) $(TOOL_BIN:=.o): BASE_FLAGS += -Itests
$(TEST_BIN) $(TOOL_BIN): $(B)/%: $(B)/%.o $(LIB_OBJ) $(PROG_OBJ)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) $(TEST_LDFLAGS) -o $@ $< $(LIB_OBJ) $(PROG_OBJ) $(PROG_LDLIBS) $(LDLIBS) -lcmocka

# Every allocation of ours in this program goes through the test, which counts them.
$(B)/tests/unit/test_no_allocation: TEST_LDFLAGS = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign

.PHONY: check test demo deps demo-deps fuzz
check: all $(TEST_BIN) $(TOOL_BIN) ## build and run the tests, installing nothing
	@BLIP2=$(CURDIR)/$(B)/blip2 PYTHON='$(PYTHON)' sh tests/tools/run.sh $(TEST_BIN) tests/cli/run.sh tests/tools/check_demo.sh tests/tools/check_job.sh tests/tools/check_gguf.sh tests/tools/check_install.sh
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
ARM_SRC  := $(wildcard src/base/*.c src/kernels/*.c src/kernels/ref/*.c src/kernels/arm/*.c quant/half.c) tests/kernels/checkkernels.c
.PHONY: check-arm
$(ARM_B)/%.o: %.c
	@mkdir -p $(@D)
	@$(ARM_CC) -std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -I. -ffp-contract=off -O2 $(KERNEL_FLAGS) $(WARN) -Werror \
	    $(if $(findstring isa_dotprod,$@),-march=armv8.2-a+dotprod) -MMD -MP -c -o $@ $<
$(ARM_B)/checkkernels: $(ARM_SRC:%.c=$(ARM_B)/%.o)
	@$(ARM_CC) -static -o $@ $^ -lm -lpthread
check-arm: $(ARM_B)/checkkernels ## the ARM kernels against the definition, under qemu
	@$(ARM_QEMU) -cpu max $<
-include $(ARM_SRC:%.c=$(ARM_B)/%.d)

# ---- a cluster ----------------------------------------------------------------------------------------------------------
.PHONY: check-slurm
check-slurm: all ## data/cluster/caption.sbatch on a real Slurm of one node (root; apt install slurmctld slurmd)
	@BLIP2=$(CURDIR)/$(B)/blip2 sh tests/tools/check_slurm.sh

# ---- fuzzers (clang): make fuzz runs each for FUZZ_SECONDS ---------------------------------------------------------
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_SECONDS ?= 60
FB := build/fuzz
$(FB)/%: tests/fuzz/%.c $(LIB_SRC) $(PROG_SRC) $(WORD_INC) $(PAGE_INC)
	@mkdir -p $(FB)
	clang -std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -I. -I$(E) -O1 -g -ffp-contract=off \
	    $(if $(filter 1,$(JPEG)),-DB2_HAVE_JPEG) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $< \
	    $(filter-out src/kernels/% src/model/% src/generate/% src/blip2.c src/blip2_model.c src/cli/cmd_% src/cli/reader.c src/cli/job.c src/cli/worker.c src/cli/sink.c src/cli/plan.c src/cli/common.c,$(LIB_SRC) $(PROG_SRC)) \
	    -ljansson -lzip -lutf8proc -lxxhash -ljpeg -lm -lpthread
FUZZERS := $(FUZZ_SRC:tests/fuzz/%.c=$(FB)/%)
fuzz: $(B)/blip2 $(FUZZERS) ## fuzz every parser of outside bytes (clang, Python for the seeds; FUZZ_SECONDS=60 each)
	@$(PYTHON) tests/tools/fuzz_seeds.py $(FB) $(B)/blip2 || echo 'no seeds: some fuzzers will not get far'
	@for f in $(FUZZERS); do echo "== $$f"; mkdir -p $$f.corpus $$f.seeds; \
	    $$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 -timeout=10 $$f.corpus $$f.seeds || exit 1; done

# ---- a user's real download ------------------------------------------------------------------------------------------
.PHONY: check-real
check-real: all ## compare a real download with published ids: CHECKPOINT=folder [BEACH=file] [CATS=file] [IMAGE=file]
	@BLIP2=$(CURDIR)/$(B)/blip2 CHECKPOINT='$(CHECKPOINT)' BEACH='$(BEACH)' CATS='$(CATS)' IMAGE='$(IMAGE)' EXPECT='$(EXPECT)' \
	    sh tests/tools/check_real.sh
