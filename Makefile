# blip2.c: `make help` lists what this file can do. Objects and programs go to build/<variant>/; nothing is installed
# except by `make demo`, `make test` (missing Debian packages) and `make install`.

CC       ?= gcc
VARIANT  ?= release
B        := build/$(VARIANT)
PREFIX   ?= /usr/local
DESTDIR  ?=
PYTHON   ?= python3

VERSION  := $(shell sed -n 's/.*BLIP2_VERSION "\(.*\)"/\1/p' src/blip2.h)
ARCH     := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))

# ---- what this machine has: BLAS=0, JPEG=0, WEBP=0 ... leave a part out; OPENMP=0 takes threads of our own
# (src/base/parallel.c), as do compilers without OpenMP and sanitizers, which do not know its locks -----------------------
PKG_CONFIG ?= pkg-config
has = $(shell $(PKG_CONFIG) --exists '$(1)' && echo 1)

OMP_LIB := $(if $(findstring clang,$(CC)),libomp.so,libgomp.so)
OPENMP ?= $(if $(SANITIZE),0,$(if $(filter /%,$(shell $(CC) -print-file-name=$(OMP_LIB))),1,0))
BLAS   ?= $(call has,openblas)
ARCHIVE ?= $(call has,libarchive)
# Libraries that decode pictures.
JPEG   ?= $(call has,libjpeg)
SPNG   ?= $(call has,spng)
WEBP   ?= $(call has,libwebp libwebpdemux)
TIFF   ?= $(call has,libtiff-4 >= 4.5)
GIF    ?= $(if $(wildcard $(addsuffix /gif_lib.h,/usr/include /usr/local/include)),1)
HEIF   ?= $(call has,libheif)
AVIF   ?= $(call has,libavif)
JXL    ?= $(call has,libjxl)
PICTURE_LIBS := JPEG=-ljpeg SPNG=-lspng WEBP=-lwebp,-lwebpdemux TIFF=-ltiff GIF=-lgif
# Loaded when the first such file comes (src/base/library.h), not linked: they bring 47 others along.
LOADED_LIBS := HEIF=libheif AVIF=libavif JXL=libjxl ARCHIVE=libarchive
names_of = $(foreach l,$1,$(firstword $(subst =, ,$(l))))
PICTURE_NAMES := $(call names_of,$(PICTURE_LIBS) $(filter-out ARCHIVE=%,$(LOADED_LIBS)))
# NAME=libname: -DB2_SO_NAME=libname.so.1, as the file calls itself.
soname = $(or $(shell objdump -p $$($(CC) -print-file-name=$1.so) 2>/dev/null | sed -n 's/.*SONAME *//p'),$1.so)
# What makes the GPU's kernels: a clang, nvcc, texts of a release archive; empty: they are left out.
PTX    ?= $(if $(findstring linux,$(shell $(CC) -dumpmachine)),$(shell sh src/gpu/make_ptx.sh find))

# ---- flags -------------------------------------------------------------------------------------------------------
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wvla
CFLAGS  ?= -O2 -g
# What every compiler here gets: gcc, clang for the fuzzers, the cross compilers.
LANG_FLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -I. -ffp-contract=off
BASE_FLAGS := $(LANG_FLAGS) -fPIC -fvisibility=hidden -MMD -MP $(WARN) $(if $(CI),-Werror)
# Loops over numbers: vectorised, errno of sqrt ignored; no flag here changes a result (src/kernels/README.md has the
# argument). (Sanitizers: clang takes ten minutes for one file at -O3.)
KERNEL_FLAGS := $(if $(SANITIZE),-O1,-O3) -fno-math-errno -fno-trapping-math
LDLIBS  := -ldl -lutf8proc -lxxhash -lm -lpthread
# Only the program converts and reads lists; the library does without these.
PROG_LDLIBS := -ljansson -lzip

# Only the files with pragmas of OpenMP are compiled with it; they follow the switch by a stamp of their own.
BASE_FLAGS += -Wno-unknown-pragmas
OMP_FLAG := $(if $(filter 1,$(OPENMP)),-fopenmp)
LDFLAGS_OMP := $(OMP_FLAG)
OMP_OBJ = $(B)/src/base/parallel.o $(B)/tests/unit/test_threads.o
OMP_STAMP = $(B)/openmp-$(if $(OMP_FLAG),1,0)
ifeq ($(BLAS),1)
FEATURE_FLAGS += -DB2_HAVE_BLAS $(shell $(PKG_CONFIG) --cflags openblas)
LDLIBS += $(shell $(PKG_CONFIG) --libs openblas)
endif
comma := ,
FEATURE_FLAGS += $(foreach l,$(LOADED_LIBS),$(if $(filter 1,$($(firstword $(subst =, ,$(l))))),-DB2_SO_$(firstword $(subst =, ,$(l)))=$(call soname,$(lastword $(subst =, ,$(l))))))
FEATURE_FLAGS += $(foreach n,$(PICTURE_NAMES) ARCHIVE,$(if $(filter 1,$($(n))),-DB2_HAVE_$(n)))
LDLIBS += $(foreach l,$(PICTURE_LIBS),$(if $(filter 1,$($(firstword $(subst =, ,$(l))))),$(subst $(comma), ,$(lastword $(subst =, ,$(l))))))

FEATURE_FLAGS += $(if $(SANITIZE),-DB2_SANITIZED)

BASE_FLAGS += $(FEATURE_FLAGS)

# ---- sources -----------------------------------------------------------------------------------------------------
LIB_DIRS := src src/base src/checkpoint src/image src/gpu src/kernels src/kernels/cpu src/kernels/ref src/model src/generate quant tokenizer
ifeq ($(BLAS),1)
LIB_DIRS += src/kernels/blas
endif
ifeq ($(ARCH),x86_64)
LIB_DIRS += src/kernels/x86
endif
ifeq ($(ARCH),aarch64)
LIB_DIRS += src/kernels/arm
endif
LIB_SRC  := $(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.c))
PROG_DIRS := src/lists src/words src/record src/job src/console src/cli convert
PROG_SRC := $(filter-out src/cli/main.c,$(foreach d,$(PROG_DIRS),$(wildcard $(d)/*.c)))
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o)
PROG_OBJ := $(PROG_SRC:%.c=$(B)/%.o)
MAIN_OBJ := $(B)/src/cli/main.o

.PHONY: all
all: features $(B)/blip2 $(B)/libblip2.a $(B)/libblip2.so.1 ## build the program and the library (the default)
	@$(if $(filter release,$(VARIANT)),for f in blip2 libblip2.a libblip2.so.1; do ln -sf release/$$f build/$$f; done)

.PHONY: features
features:
	@sh tests/tools/features.sh OPENMP=$(if $(OMP_FLAG),1,0) BLAS=$(BLAS) ARCHIVE=$(ARCHIVE) $(foreach n,$(PICTURE_NAMES),$(n)=$($(n))) PTX=$(if $(PTX),1,0)

# Flags are part of what an object is: another set of flags, another build.
FLAG_STAMP := $(B)/flags
FLAG_TEXT  := $(CC) $(CFLAGS) $(BASE_FLAGS) $(LDFLAGS)
$(shell mkdir -p $(B); echo '$(FLAG_TEXT)' | cmp -s - $(FLAG_STAMP) || echo '$(FLAG_TEXT)' > $(FLAG_STAMP))

# What single files and rooms get beside that, whoever compiles them. SLP would put addresses of a tile together in vector
# registers, where they queue behind the products they are needed for. stb's JPEG writer shifts ones out of an int.
FLAGS_isa_sse41      := -msse4.1
FLAGS_isa_avx2       := -mavx2 -mfma -mf16c
FLAGS_isa_avxvnni    := -mavx2 -mfma -mf16c -mavxvnni
FLAGS_isa_avx512vnni := -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mprefer-vector-width=512
FLAGS_isa_amx        := $(FLAGS_isa_avx512vnni) -mprfchw
FLAGS_isa_dotprod    := -march=armv8.2-a+dotprod
FLAGS_isa_i8mm       := -march=armv8.2-a+dotprod+i8mm
FLAGS_ptx            := $(if $(PTX),-DB2_HAVE_PTX='"build/embedded/gpu"')
FLAGS_thumbnail      := -fno-sanitize=shift
target_flags = $(FLAGS_$(notdir $(basename $<)))
# x86's kernels are not checked for signed overflow: with it clang needs 590 s for the five files, without it 65; their
# sums are in vectors, which no sanitizer checks, and src/kernels/ref, their measure, keeps the check.
x86_flags    = -fno-tree-slp-vectorize $(if $(SANITIZE),-fno-sanitize=signed-integer-overflow)
speed_flags  = $(if $(filter src/kernels/%,$<),$(KERNEL_FLAGS)) $(if $(filter src/kernels/x86/%,$<),$(x86_flags)) \
               $(if $(filter src/image/%,$<),-O3)

$(OMP_OBJ): BASE_FLAGS += $(OMP_FLAG)
$(OMP_OBJ): $(OMP_STAMP)
$(OMP_STAMP):
	@mkdir -p $(@D); rm -f $(B)/openmp-*; touch $@

$(B)/%.o: %.c $(FLAG_STAMP)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC    $<';)$(CC) $(BASE_FLAGS) $(CFLAGS) $(speed_flags) $(target_flags) -c -o $@ $<

# Texts that are compiled in: each line a string. (build/embedded: the same for every variant.)
E := build/embedded
BASE_FLAGS += -I$(E)
WORD_INC := $(patsubst data/words/%.txt,$(E)/words/words_%.inc,$(wildcard data/words/*.txt))
PAGE_INC := $(E)/job/report_css.inc $(E)/job/report_js.inc
embed = mkdir -p $(@D); sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/\\t/g; s/.*/"&\\n"/' $< >$@
$(E)/words/words_%.inc: data/words/%.txt
	@$(embed)
$(E)/job/report_%.inc: src/job/report.%
	@$(embed)
$(B)/src/words/words.o: $(WORD_INC)
$(B)/src/job/report.o: $(PAGE_INC)

# The GPU's kernels: three texts that the driver translates for the card it finds; nothing of CUDA is needed here.
PTX_TEXT := $(if $(PTX),$(foreach n,61 75 80,$(E)/gpu/kernels_$(n).ptx))
$(E)/gpu/kernels_%.ptx: $(wildcard src/gpu/*.cu) src/gpu/lang.h src/gpu/args.h src/gpu/make_ptx.sh
	@mkdir -p $(@D); echo '  PTX   $*'; sh src/gpu/make_ptx.sh $* $@
$(B)/src/gpu/ptx.o: $(PTX_TEXT)
.PHONY: ptx
ptx: $(foreach n,61 75 80,$(E)/gpu/kernels_$(n).ptx) ## the GPU's kernels into src/gpu/ptx, for a release archive
	@mkdir -p src/gpu/ptx; cp $^ src/gpu/ptx

$(B)/libblip2.a: $(LIB_OBJ)
	@rm -f $@; ar rcs $@ $(LIB_OBJ)
$(B)/libblip2.so.1: $(LIB_OBJ)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) -shared -Wl,-soname,libblip2.so.1 -o $@ $(LIB_OBJ) $(LDLIBS)
$(B)/blip2: $(MAIN_OBJ) $(PROG_OBJ) $(B)/libblip2.a
	@echo '  LINK  $@'; $(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) -o $@ $(MAIN_OBJ) $(PROG_OBJ) $(B)/libblip2.a $(PROG_LDLIBS) $(LDLIBS)

-include $(wildcard $(B)/*.d $(B)/*/*.d $(B)/*/*/*.d $(B)/*/*/*/*.d)

include tests/tests.mk

# ---- what keeps the house in order ------------------------------------------------------------------------------
.PHONY: layers globals format format-check count help clean install
layers: ## check the arrows of inclusion between the rooms
	@sh tests/tools/layers.sh
format: ## lay every C file out as .clang-format says (clang-format-14)
	@sh tests/tools/format.sh fix
format-check: ## name the files that are laid out otherwise
	@sh tests/tools/format.sh check
count: ## lines of code today and at bca0bb7; files and functions that are too long
	@sh tests/tools/count.sh
globals: $(B)/libblip2.a $(PROG_OBJ) $(MAIN_OBJ) ## check that no object of ours holds writable state
	@sh tests/tools/globals.sh $(B)/libblip2.a $(PROG_OBJ) $(MAIN_OBJ)

install: all ## install program, library, header and pkg-config file (PREFIX=, DESTDIR=)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 755 $(B)/blip2 $(DESTDIR)$(PREFIX)/bin/blip2
	install -m 644 $(B)/libblip2.a $(DESTDIR)$(PREFIX)/lib/libblip2.a
	install -m 755 $(B)/libblip2.so.1 $(DESTDIR)$(PREFIX)/lib/libblip2.so.1
	ln -sf libblip2.so.1 $(DESTDIR)$(PREFIX)/lib/libblip2.so
	install -m 644 src/blip2.h src/blip2_experimental.h $(DESTDIR)$(PREFIX)/include/
	printf 'prefix=%s\nlibdir=$${prefix}/lib\nincludedir=$${prefix}/include\n\nName: blip2\nDescription: BLIP-2 image captioning on the CPU\nVersion: %s\nLibs: -L$${libdir} -lblip2\nLibs.private: %s\nCflags: -I$${includedir}\n' \
	    '$(PREFIX)' '$(VERSION)' '$(LDFLAGS_OMP) $(LDLIBS)' > $(DESTDIR)$(PREFIX)/lib/pkgconfig/blip2.pc

clean: ## remove build/
	rm -rf build
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  variables: CC= CFLAGS= OPENMP=0 BLAS=0 JPEG=0 SPNG=0 WEBP=0 TIFF=0 GIF=0 HEIF=0 AVIF=0 JXL=0 ARCHIVE=0 PREFIX= DESTDIR= V=1 (show commands)'
