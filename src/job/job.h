/* job.h: a list of pictures in, one record for each out, in the order of the list; what is done survives a kill.
 *
 *   spec      what decides the bytes of a record        options   and what only decides how they are made
 *   header    which job a journal belongs to            journal   what was done so far
 *   targets   nothing that is read is written over      shard     one job cut over many processes
 *   plan      what is to be done: the shard's pictures, less those that the journal has
 *   queue     the next batch, until all is done or the job stops
 *   reader    decodes ahead, on threads of its own      worker    one session: takes batches, sees, says
 *   sink      takes the records in order: sidecars, journal or stdout, progress
 *   state     what a finished output keeps            grown     a longer list takes its rows over
 *   assemble  the journal becomes the output            report    and a page (with each picture's thumbnail)
 *   ending    both, and the state, in the order that a kill at any moment survives
 *   scoring   the other job: how likely texts are (blip2 score), with the same plan, journal and ending */
#ifndef B2_JOB_H
#define B2_JOB_H

#include "job/options.h"

/* Does the job, says what goes wrong, and returns the exit code of the program. */
int b2_job_run(const b2_inputs *inputs, const b2_job_options *options);

#endif
