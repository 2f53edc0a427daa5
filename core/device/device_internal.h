/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of core/device share and neither callers nor back ends see. */
#ifndef LOCKSTEP_CORE_DEVICE_DEVICE_INTERNAL_H
#define LOCKSTEP_CORE_DEVICE_DEVICE_INTERNAL_H

#include "core/device/device_impl.h"

/* ---- threads.c: the threads of one device ---- */
struct lsi_pool;

/* `threads` - 1 threads that wait for work; the caller is one more. Returned; ends with lsi_pool_destroy. */
enum ls_status lsi_pool_create(int threads, struct lsi_pool **pool, struct ls_error *err);
void lsi_pool_destroy(struct lsi_pool *pool);
int lsi_pool_threads(const struct lsi_pool *pool);
/* Round to nearest, denormals kept, no trap: in the calling thread. */
void lsi_float_mode_set(void);

/* ---- cpu/table.c: instruction sets ---- */
/* One instruction set that this build has kernels for. */
struct lsi_isa {
    const char *name;                          /* "ref", "avx2" ... */
    const char *device_name;                   /* "cpu/avx2" ... */
    bool (*present)(void);                     /* whether this processor has it */
    const struct lsi_kernel *(*kernels)(void); /* NULL: the reference alone */
    const struct lsi_sweeps *(*sweeps)(void);
};
/* Of this name, or NULL; the best one present for NULL. */
const struct lsi_isa *lsi_isa_find(const char *name);

/* ---- cpu/blas.c: math: fast ---- */
struct lsi_blas;

/* Loads the plug-in. LS_EUNSUPPORTED names what is missing. Returned; ends with lsi_blas_close. */
enum ls_status lsi_blas_open(int threads, struct lsi_blas **blas, struct ls_error *err);
void lsi_blas_close(struct lsi_blas *blas);
/* Rows for the products, run by the library. */
const struct lsi_kernel *lsi_blas_kernels(void);

#define LSI_MAX_TABLES 3

struct ls_device {
    const char *name;
    struct lsi_pool *pool;
    struct lsi_blas *blas;                           /* NULL unless math: fast */
    const struct lsi_kernel *tables[LSI_MAX_TABLES]; /* asked in this order */
    int table_count;
    const struct lsi_sweeps *sweeps;
};

#endif
