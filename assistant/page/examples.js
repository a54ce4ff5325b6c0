// Three to try: two samples of entries as they stand there, and a question.

export const EXAMPLES = [
  {
    kind: "log",
    title: { en: "Four ranks, NCCL watchdog timeout", zh: "4 个 rank，NCCL watchdog 超时" },
    text: String.raw`$ TORCH_NCCL_DESYNC_DEBUG=1 torchrun --nproc-per-node 4 --log-dir logs --tee 3 sft.py --streaming true
[default2]:[rank2]: step 410 | loss 1.7302 | 9.8k tok/s
[default3]:[rank3]: shard 7 of 7 exhausted, 410 batches
[default0]:[rank0]:[E902 14:21:09.112204550 ProcessGroupNCCL.cpp:685] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=2461, OpType=ALLREDUCE, NumelIn=26214400, NumelOut=26214400, Timeout(ms)=600000) ran for 600010 milliseconds before timing out.
[default0]:[rank0]:[E902 14:21:09.112314900 ProcessGroupNCCL.cpp:1893] Rank 0
[default0]:	 - [0] Timeout at collective: ALLREDUCE, #2461
[default0]:	 - To our best knowledge, the lagging/dead/mismatched ranks that caused the desync are:
[default0]:	     [3] finished collective #2460, but didn't join collective #2461 (count from 1)
[default0]:	 - Snapshot of ranks' latest states:
[default0]:[rank0]:[E902 14:21:09.112881230 ProcessGroupNCCL.cpp:2271] [PG ID 1 PG GUID 1 Rank 0]  failure detected by watchdog at work sequence id: 2461 PG status: last enqueued work: 2463, last completed work: 2460
[default1]:[rank1]:[E902 14:21:09.112204551 ProcessGroupNCCL.cpp:685] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=2461, OpType=ALLREDUCE, NumelIn=26214400, NumelOut=26214400, Timeout(ms)=600000) ran for 600011 milliseconds before timing out.
[default1]:[rank1]:[E902 14:21:09.112314901 ProcessGroupNCCL.cpp:1893] Rank 1
[default1]:	 - [1] Timeout at collective: ALLREDUCE, #2461
[default1]:	 - To our best knowledge, the lagging/dead/mismatched ranks that caused the desync are:
[default1]:	     [3] finished collective #2460, but didn't join collective #2461 (count from 1)
[default1]:	 - Snapshot of ranks' latest states:
[default1]:[rank1]:[E902 14:21:09.112881231 ProcessGroupNCCL.cpp:2271] [PG ID 1 PG GUID 1 Rank 1]  failure detected by watchdog at work sequence id: 2461 PG status: last enqueued work: 2463, last completed work: 2460
[default2]:[rank2]:[E902 14:21:09.112204552 ProcessGroupNCCL.cpp:685] [Rank 2] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=2461, OpType=ALLREDUCE, NumelIn=26214400, NumelOut=26214400, Timeout(ms)=600000) ran for 600012 milliseconds before timing out.
[default2]:[rank2]:[E902 14:21:09.112314902 ProcessGroupNCCL.cpp:1893] Rank 2
[default2]:	 - [2] Timeout at collective: ALLREDUCE, #2461
[default2]:	 - To our best knowledge, the lagging/dead/mismatched ranks that caused the desync are:
[default2]:	     [3] finished collective #2460, but didn't join collective #2461 (count from 1)
[default2]:	 - Snapshot of ranks' latest states:
[default2]:[rank2]:[E902 14:21:09.112881232 ProcessGroupNCCL.cpp:2271] [PG ID 1 PG GUID 1 Rank 2]  failure detected by watchdog at work sequence id: 2461 PG status: last enqueued work: 2463, last completed work: 2460
[default3]:[rank3]:[E902 14:21:09.870012201 ProcessGroupNCCL.cpp:1685] [PG ID 0 PG GUID 0(default_pg) Rank 3] Observed flight recorder dump signal from another rank via TCPStore.
[default3]:[rank3]:[E902 14:21:09.870231877 ProcessGroupNCCL.cpp:1746] [PG ID 0 PG GUID 0(default_pg) Rank 3] Received a dump signal due to a collective timeout from  rank 0 and we will try our best to dump the debug info. Last enqueued NCCL work: 12, last completed NCCL work: 12.This is most likely caused by incorrect usages of collectives, e.g., wrong sizes used across ranks, the order of collectives is not same for all ranks or the scheduled collective, for some reason, didn't run. Additionally, this can be caused by GIL deadlock or other reasons such as network errors or bugs in the communications library (e.g. NCCL), etc. 
[default0]:[rank0]:[E902 14:29:10.402217730 ProcessGroupNCCL.cpp:1794] [PG ID 0 PG GUID 0(default_pg) Rank 0] ProcessGroupNCCL's watchdog got stuck for 480 seconds without making progress in monitoring enqueued collectives. This typically indicates a NCCL/CUDA API (e.g., CudaEventDestroy) hang blocking the watchdog, and could be triggered by another thread holding the GIL inside a CUDA api (for example, CudaEventDestroy), or other deadlock-prone behaviors.If you suspect the watchdog is not actually stuck and a longer timeout would help, you can either increase the timeout (TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC) to a larger value or disable the heartbeat monitor (TORCH_NCCL_ENABLE_MONITORING=0).
`,
  },
  {
    kind: "traceback",
    title: { en: "DeepSpeed: CUDA_HOME is not set", zh: "DeepSpeed：CUDA_HOME 没有设置" },
    text: String.raw`$ python train.py --deepspeed ds_zero2.json
 [WARNING]  fp_quantizer compatibility check failed (CUDA_HOME does not exist, unable to compile CUDA op(s)), treating the op as not compatible
Traceback (most recent call last):
  File "/workspace/sft/train.py", line 8, in <module>
    FusedAdamBuilder().load()
  File "/opt/env/lib/python3.11/site-packages/deepspeed/ops/op_builder/builder.py", line 566, in load
    return self.jit_load(verbose)
           ^^^^^^^^^^^^^^^^^^^^^^
  File "/opt/env/lib/python3.11/site-packages/deepspeed/ops/op_builder/builder.py", line 613, in jit_load
    op_module = load(name=self.name,
                ^^^^^^^^^^^^^^^^^^^^
  File "/opt/env/lib/python3.11/site-packages/torch/utils/cpp_extension.py", line 1927, in load
    return _jit_compile(
           ^^^^^^^^^^^^^
  File "/opt/env/lib/python3.11/site-packages/torch/utils/cpp_extension.py", line 2382, in _jit_compile
    _write_ninja_file_and_build_library(
  File "/opt/env/lib/python3.11/site-packages/torch/utils/cpp_extension.py", line 2509, in _write_ninja_file_and_build_library
    extra_ldflags = _prepare_ldflags(
                    ^^^^^^^^^^^^^^^^^
  File "/opt/env/lib/python3.11/site-packages/torch/utils/cpp_extension.py", line 2617, in _prepare_ldflags
    if (not os.path.exists(_join_cuda_home(extra_lib_dir)) and
                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/opt/env/lib/python3.11/site-packages/torch/utils/cpp_extension.py", line 3302, in _join_cuda_home
    raise OSError('CUDA_HOME environment variable is not set. '
OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.
`,
  },
  {
    kind: "question",
    title: { en: "The loss is 0 from step 2 on", zh: "SFT 时 loss 一直是 0" },
    text: { en: "loss becomes exactly 0.0 from step 2 during SFT", zh: "SFT 时 loss 一直是 0，怎么回事？" },
  },
];
