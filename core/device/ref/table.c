/* SPDX-License-Identifier: Apache-2.0 */
/* The reference's table: every family fills its rows. */
#include "core/device/device_impl.h"

#include <pthread.h>

static struct lsi_kernel table[LS_OP_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void)
{
    lsi_ref_products(table);
    lsi_ref_conv(table);
    lsi_ref_batch(table);
    lsi_ref_elements(table);
    lsi_ref_rows(table);
    lsi_ref_layout(table);
}

const struct lsi_kernel *lsi_ref_kernels(void)
{
    pthread_once(&once, fill);
    return table;
}
