#include "explorer.h"
#include "medium.h"
#include "dram.h"
#include "schedule.h"
#include "workload.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
static uint64_t distinct;
static const struct workload *w; static unsigned ops[8], nops;
static void failed(const struct failure *f) { printf("FAIL level %u: %s ops", f->level, f->message); for(unsigned i=0;i<nops;i++) printf(" [%s]", w->operation_name(ops[i])); for(unsigned k=1;k<=f->level;k++){ printf(" | point %u choices", explorer_trail[k].point); for(unsigned i=0;i<explorer_trail[k].count;i++) printf(" %u/%u", explorer_trail[k].choice[i].chosen, explorer_trail[k].choice[i].of);} printf("\n"); exit(1); }
static void run_case(const unsigned *o, unsigned n, unsigned from) { memcpy(ops,o,n*sizeof*o); nops=n; explorer_start(false); medium_restart(); dram_reset(); explorer_visit(from==0&&n==0); w->open(); for(unsigned i=0;i<n;i++){ explorer_visit(i>=from); w->operate(0,o[i]); explorer_returned(); medium_complete(false);} explorer_visit(false); w->abandon(); }
int main(int argc,char**argv){ setvbuf(stdout,0,_IOLBF,0); w=&workload_small; explorer_context=w->context; medium_init(); dram_init(); explorer_init(w->check, failed); explorer_start(false);
 if(argc>2) explorer_options.depth=(unsigned)atoi(argv[2]);
 memset(medium_independent+(FILE_STATE_BYTES+434176)/64,1,266240/64);
 w->create(); dram_keep(); medium_begin(); unsigned max=argc>1?(unsigned)atoi(argv[1]):2; struct timespec a,b; clock_gettime(CLOCK_MONOTONIC,&a); uint64_t cases=0;
 unsigned o[8]; for(unsigned n=0;n<=max;n++){ uint64_t total=1; for(unsigned i=0;i<n;i++) total*=w->operations; for(uint64_t c=0;c<total;c++){ uint64_t x=c; for(unsigned i=0;i<n;i++){o[i]=(unsigned)(x%w->operations); x/=w->operations;} run_case(o,n,n?n-1:0); cases++; } 
 medium_complete(true); clock_gettime(CLOCK_MONOTONIC,&b); double t=(double)(b.tv_sec-a.tv_sec)+(double)(b.tv_nsec-a.tv_nsec)*1e-9; printf("n %u cases %lu points %lu/%lu/%lu known %lu states %lu/%lu/%lu distinct %lu truncated %lu cut %lu most %lu untracked %lu  %.1fs %.0f states/s\n", n,cases,explorer_counts.points[0],explorer_counts.points[1],explorer_counts.points[2],explorer_counts.points_known,explorer_counts.states[1],explorer_counts.states[2],explorer_counts.states[3],distinct,explorer_counts.truncated,medium_counts.cut_contents,explorer_counts.runs_most,medium_counts.untracked,t,(double)(explorer_counts.states[1]+explorer_counts.states[2])/t); }
 return 0; }
