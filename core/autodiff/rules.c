/* SPDX-License-Identifier: Apache-2.0 */
/* The table of gradient rules, assembled from the families (gradient_<family>.c). */
#include "core/autodiff/backward_internal.h"

#include <pthread.h>

static lsi_gradient_fn table[LS_OP_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void assemble(void)
{
    lsi_gradients_products(table);
    lsi_gradients_conv(table);
    lsi_gradients_batch(table);
    lsi_gradients_elements(table);
    lsi_gradients_rows(table);
    lsi_gradients_layout(table);
}

lsi_gradient_fn lsi_gradient_rule(enum ls_op op)
{
    pthread_once(&once, assemble);
    return table[op];
}
