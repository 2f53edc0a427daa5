/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The op table: names and numbers of inputs from op_list.h, rules from the families (rule_<family>.c). A new op is
 * a line in op_list.h, a row of a family here, one in core/autodiff and a kernel in core/device.
 */
#include "core/ops/context_internal.h"

#include <pthread.h>
#include <string.h>

static const char *const names[LS_OP_COUNT] = {
#define OP_NAME(code, name, inputs, outputs) [code] = name,
    LS_OP_LIST(OP_NAME)
#undef OP_NAME
};

static const int input_counts[LS_OP_COUNT] = {
#define OP_INPUTS(code, name, inputs, outputs) [code] = inputs,
    LS_OP_LIST(OP_INPUTS)
#undef OP_INPUTS
};

static struct lsi_rule rules[LS_OP_COUNT];
static pthread_once_t rules_once = PTHREAD_ONCE_INIT;

static void assemble(void)
{
    lsi_rules_products(rules);
    lsi_rules_conv(rules);
    lsi_rules_batch(rules);
    lsi_rules_elements(rules);
    lsi_rules_rows(rules);
    lsi_rules_layout(rules);
}

const struct lsi_rule *lsi_op_rule(enum ls_op op)
{
    pthread_once(&rules_once, assemble);
    return &rules[op];
}

int lsi_op_inputs(enum ls_op op)
{
    return input_counts[op];
}

const char *ls_op_name(enum ls_op op)
{
    return (unsigned)op < LS_OP_COUNT ? names[op] : "?";
}

enum ls_op ls_op_from_name(const char *name)
{
    for (int op = 0; op < LS_OP_COUNT; op++)
        if (strcmp(names[op], name) == 0)
            return (enum ls_op)op;
    return LS_OP_COUNT;
}
