/* SPDX-License-Identifier: Apache-2.0 */
/* The reference's table: every family fills its rows. A family is called where its file is part of the tree. */
#include "core/device/device_impl.h"

#include <pthread.h>

static struct lsi_kernel table[LS_OP_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void)
{
#if __has_include("core/device/ref/products.c")
    lsi_ref_products(table);
#endif
#if __has_include("core/device/ref/conv.c")
    lsi_ref_conv(table);
#endif
#if __has_include("core/device/ref/batch.c")
    lsi_ref_batch(table);
#endif
#if __has_include("core/device/ref/elements.c")
    lsi_ref_elements(table);
#endif
#if __has_include("core/device/ref/rows.c")
    lsi_ref_rows(table);
#endif
#if __has_include("core/device/ref/layout.c")
    lsi_ref_layout(table);
#endif
}

const struct lsi_kernel *lsi_ref_kernels(void)
{
    pthread_once(&once, fill);
    return table;
}

#if !__has_include("core/device/ref/sweeps.c")
const struct lsi_sweeps *lsi_ref_sweeps(void)
{
    return NULL;
}
#endif
