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

# ---- what this machine has: BLAS=0 and JPEG=0 leave a part out; OPENMP=1 takes
# OpenMP's threads instead of our own team (src/base/parallel.c says why not) -------------------------------------------
PKG_CONFIG ?= pkg-config
has = $(shell $(PKG_CONFIG) --exists $(1) && echo 1)

OPENMP ?= 0
BLAS   ?= $(call has,openblas)
JPEG   ?= $(call has,libjpeg)

# ---- flags -------------------------------------------------------------------------------------------------------
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wvla
CFLAGS  ?= -O2 -g
BASE_FLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -I. \
              -ffp-contract=off -fPIC -fvisibility=hidden -MMD -MP $(WARN) $(if $(CI),-Werror)
# Loops over numbers: vectorised, errno of sqrt ignored; no flag here changes a result. (Sanitizers: clang takes ten minutes
# for one file at -O3.)
KERNEL_FLAGS := $(if $(SANITIZE),-O1,-O3) -fno-math-errno -fno-trapping-math
LDLIBS  := -lutf8proc -lxxhash -lm -lpthread
# Only the program converts and reads lists; the library does without these.
PROG_LDLIBS := -ljansson -lzip

ifeq ($(OPENMP),1)
BASE_FLAGS += -fopenmp
LDFLAGS_OMP := -fopenmp
else
BASE_FLAGS += -Wno-unknown-pragmas
endif
ifeq ($(BLAS),1)
BASE_FLAGS += -DB2_HAVE_BLAS $(shell $(PKG_CONFIG) --cflags openblas)
LDLIBS += $(shell $(PKG_CONFIG) --libs openblas)
endif
ifeq ($(JPEG),1)
BASE_FLAGS += -DB2_HAVE_JPEG
LDLIBS += -ljpeg
endif

# ---- sources -----------------------------------------------------------------------------------------------------
LIB_DIRS := src src/base src/checkpoint src/image src/kernels src/kernels/ref src/model src/generate quant tokenizer
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
PROG_SRC := $(wildcard convert/*.c) $(filter-out src/cli/main.c,$(wildcard src/cli/*.c))
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o)
PROG_OBJ := $(PROG_SRC:%.c=$(B)/%.o)
MAIN_OBJ := $(B)/src/cli/main.o

.PHONY: all
all: features $(B)/blip2 $(B)/libblip2.a $(B)/libblip2.so.0 ## build the program and the library (the default)
	@for f in blip2 libblip2.a libblip2.so.0; do ln -sf $(VARIANT)/$$f build/$$f; done

.PHONY: features
features:
	@mark() { if [ "$$2" = 1 ]; then printf '  \342\234\223 %-14s %s\n' "$$1" "$$3"; else printf '  \342\234\227 %-14s %s\n' "$$1" "$$4"; fi; }; \
		mark OpenBLAS '$(BLAS)' 'f32/f16 files, int8 on CPUs without int8 instructions' 'f32/f16 files run slowly (libopenblas-dev)'; \
	mark libjpeg '$(JPEG)' 'JPEG exactly as Pillow decodes it' 'JPEG through stb_image, a few levels off (libjpeg62-turbo-dev)'

# Flags are part of what an object is: another set of flags, another build.
FLAG_STAMP := $(B)/flags
FLAG_TEXT  := $(CC) $(CFLAGS) $(BASE_FLAGS) $(LDFLAGS)
$(shell mkdir -p $(B); echo '$(FLAG_TEXT)' | cmp -s - $(FLAG_STAMP) || echo '$(FLAG_TEXT)' > $(FLAG_STAMP))

$(B)/src/kernels/%.o: EXTRA = $(KERNEL_FLAGS)
$(B)/src/image/%.o: EXTRA = -O3
# stb's JPEG writer shifts ones out of an int; every compiler does what it means.
$(B)/src/cli/thumbnail.o: EXTRA = -fno-sanitize=shift
# SLP would put addresses of a tile together in vector registers, where they queue behind the products they are needed for.
X86_FLAGS := $(KERNEL_FLAGS) -fno-tree-slp-vectorize
$(B)/src/kernels/x86/isa_avx2.o: EXTRA = $(X86_FLAGS) -mavx2 -mfma -mf16c
$(B)/src/kernels/x86/isa_avxvnni.o: EXTRA = $(X86_FLAGS) -mavx2 -mfma -mf16c -mavxvnni
$(B)/src/kernels/x86/isa_avx512vnni.o: EXTRA = $(X86_FLAGS) -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq \
                                              -mavx512vl -mavx512vnni -mprefer-vector-width=512

$(B)/src/kernels/arm/isa_neon.o: EXTRA = $(KERNEL_FLAGS)
$(B)/src/kernels/arm/isa_dotprod.o: EXTRA = $(KERNEL_FLAGS) -march=armv8.2-a+dotprod

$(B)/%.o: %.c $(FLAG_STAMP)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC    $<';)$(CC) $(BASE_FLAGS) $(CFLAGS) $(EXTRA) -c -o $@ $<

# Texts that are compiled in: each line a string. (build/embedded: the same for every variant.)
E := build/embedded
BASE_FLAGS += -I$(E)
WORD_INC := $(patsubst data/words/%.txt,$(E)/cli/words_%.inc,$(wildcard data/words/*.txt))
PAGE_INC := $(E)/cli/report_css.inc $(E)/cli/report_js.inc
embed = mkdir -p $(@D); sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/\\t/g; s/.*/"&\\n"/' $< >$@
$(E)/cli/words_%.inc: data/words/%.txt
	@$(embed)
$(E)/cli/report_%.inc: src/cli/report.%
	@$(embed)
$(B)/src/cli/words.o: $(WORD_INC)
$(B)/src/cli/report.o: $(PAGE_INC)

$(B)/libblip2.a: $(LIB_OBJ)
	@rm -f $@; ar rcs $@ $(LIB_OBJ)
$(B)/libblip2.so.0: $(LIB_OBJ)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) -shared -Wl,-soname,libblip2.so.0 -o $@ $(LIB_OBJ) $(LDLIBS)
$(B)/blip2: $(MAIN_OBJ) $(PROG_OBJ) $(B)/libblip2.a
	@echo '  LINK  $@'; $(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_OMP) -o $@ $(MAIN_OBJ) $(PROG_OBJ) $(B)/libblip2.a $(PROG_LDLIBS) $(LDLIBS)

-include $(wildcard $(B)/*.d $(B)/*/*.d $(B)/*/*/*.d $(B)/*/*/*/*.d)

include tests/tests.mk

# ---- what keeps the house in order ------------------------------------------------------------------------------
.PHONY: layers globals help clean install
layers: ## check the arrows of inclusion between the rooms
	@sh tests/tools/layers.sh
globals: $(B)/libblip2.a ## check that no object of ours holds writable state
	@sh tests/tools/globals.sh $(B)/libblip2.a $(PROG_OBJ) $(MAIN_OBJ)

install: all ## install program, library, header and pkg-config file (PREFIX=, DESTDIR=)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 755 $(B)/blip2 $(DESTDIR)$(PREFIX)/bin/blip2
	install -m 644 $(B)/libblip2.a $(DESTDIR)$(PREFIX)/lib/libblip2.a
	install -m 755 $(B)/libblip2.so.0 $(DESTDIR)$(PREFIX)/lib/libblip2.so.0
	ln -sf libblip2.so.0 $(DESTDIR)$(PREFIX)/lib/libblip2.so
	install -m 644 src/blip2.h $(DESTDIR)$(PREFIX)/include/blip2.h
	printf 'prefix=%s\nlibdir=$${prefix}/lib\nincludedir=$${prefix}/include\n\nName: blip2\nDescription: BLIP-2 image captioning on the CPU\nVersion: %s\nLibs: -L$${libdir} -lblip2\nLibs.private: %s\nCflags: -I$${includedir}\n' \
	    '$(PREFIX)' '$(VERSION)' '$(LDFLAGS_OMP) $(LDLIBS)' > $(DESTDIR)$(PREFIX)/lib/pkgconfig/blip2.pc

clean: ## remove build/
	rm -rf build
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  variables: CC= CFLAGS= OPENMP=1 BLAS=0 JPEG=0 PREFIX= DESTDIR= V=1 (show commands)'
