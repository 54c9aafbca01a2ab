#!/usr/bin/env python3
"""What tests/gpu/run decides and computes, without a GPU."""
import math
import pathlib
import tempfile
import unittest

from bench import LLAMA_1B, PEER, QWEN_7B, Bench, by_slope, markdown, objects
from kernel_names import judge, kind_of
from results import Results
from train import judge_gradients, largest_difference


class Programs(Bench):
    """Drover takes 10 ms a layer and 20 ms beside, PyTorch 20 ms and 40, compiled 15 ms a layer; it has memory for four samples at a time."""

    @staticmethod
    def torch_has_a_gpu():
        return True

    def settings_that_fit(self, shape, layers, memory):
        return {"train.micro_batch": 8}

    def last_json(self, command, timeout):
        words = [str(word) for word in command]
        if str(PEER) not in words:
            layers = next((int(word.split("=")[1]) for word in words if word.startswith("model.layers=")), 16)
            seconds, tokens = 0.02 + 0.01 * layers, 8192
        else:
            layers, micro_batch = (int(words[words.index(option) + 1]) for option in ("--layers", "--micro-batch"))
            if micro_batch > 4:
                raise RuntimeError("torch.OutOfMemoryError: CUDA out of memory")
            seconds = 0.04 + (0.015 if "--compile" in words else 0.02) * layers
            tokens = micro_batch * int(words[words.index("--accumulate") + 1]) * 1024
        return {"step_s_median": seconds, "tokens_per_s": tokens / seconds, **({"peer": "pytorch"} if str(PEER) in words else {})}


class Functions(unittest.TestCase):
    def test_whole_models_by_slope(self):
        self.assertEqual(by_slope((4, 10.0), (12, 26.0), 28), (58.0, 2.0, 2.0))

    def test_whole_steps_beside_the_best_of_the_peers_modes(self):
        with tempfile.TemporaryDirectory() as directory:
            results = Results(pathlib.Path(directory), "bench")
            bench = Programs(results, [], pathlib.Path("drover"), None, False)
            bench.qwen_7b(139)
            bench.llama_1b()
            results.file.close()
        self.assertEqual([row[1] for row in results.rows if row[1] is not True], [])
        seconds = {row["who"]: row["step_s"] for row in bench.steps if row["model"] == "Qwen2.5 7B"}
        for who, expected in (("drover", 0.30), ("eager", 0.60), ("compiled", 0.46)):
            self.assertAlmostEqual(seconds[who], expected)
        self.assertAlmostEqual(bench.beside()["Qwen2.5 7B"], 0.46 / 0.30)
        self.assertIn("pytorch, micro-batch 4, accumulated 2", markdown(bench, {"name": "NVIDIA H200"}, "", ""))

    def test_flops_of_a_token(self):
        # Counted once more from the parameters' shapes: 7,615,616,512 less embedding, norms and biases are in products.
        products = 7615616512 - 152064 * 3584 - 57 * 3584 - 28 * (28 + 8) * 128
        self.assertEqual(QWEN_7B.flops_per_token(), 6 * products + 6 * 28 * 28 * 128 * 1024)
        products = 1235814400 - 33 * 2048  # the embedding is the head
        self.assertEqual(LLAMA_1B.flops_per_token(), 6 * products + 6 * 16 * 32 * 64 * 4096)

    def test_googles_json_comes_object_by_object(self):
        text = '{\n  "context": {\n    "date": "d",\n    "caches": [\n      {\n        "type": "Data"\n      }\n    ]\n  },\n  "benchmarks": [\n' \
               '    {\n      "name": "a",\n      "GB/s": 1.5\n    },\n    {\n      "name": "b"\n    }\n  ]\n}\n'
        self.assertEqual([found.get("name") for found in objects(text.splitlines(keepends=True))], [None, "a", "b"])

    # Names from public profiles, some cut: NVIDIA/TensorRT-LLM#1541, GindaChen/nsys-ai#582, and reports of cuDNN's and PyTorch's attention.
    def test_kernels_are_told_by_their_names(self):
        product = ["nvjet_sm90_hss_320x128_64x3_1x2_h_bz_coopB_NNT", "nvjet_tst_256x256_64x4_2x1_v_bz_coopA_TNT",
                   "sm90_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas"]
        attention = ["cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_kernel0_0",
                     "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_26_64x64x128_1x1x1_kernel0_0"]
        helper = ["_ZN8cublasLt19splitKreduce_kernelILi32ELi16EiffffLb1ELb0ELb0EEEv", "_ZN5cudnn6fusion28compute_dot_do_o_specializedILb1E"]
        wrong = ["nvjet_sm100_tst_64x32_64x16_2x1_2cta_h_bz_TNT", "cutlass_75_tensorop_bf16_s1688gemm_bf16_256x128_nn_align1", "ampere_sgemm_128x64_tn",
                 "cudnn_generated_fort_native_sdpa_sm80_flash_fprop_wmma_f16_knob_3_64x64x128_4x1x1_kernel0_0",
                 "fmha_cutlassF_bf16_aligned_64x128_rf_sm80", "_ZN6drover4cuda12_GLOBAL__N_124attention_forward_kernelI4Bf16EEvPT_",
                 "sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize96x128x32_stage4_warpsize2x2x1_tensor16x8x16_kernel"]
        own = ["_ZN6drover4cuda12_GLOBAL__N_122rmsnorm_forward_kernelI4Bf16Li8ELb0EEEvPT_"]
        for kind, names in (("product", product), ("attention", attention), ("helper", helper), ("wrong", wrong), ("own", own)):
            for name in names:
                self.assertEqual(kind_of(name), kind, name)

    def test_every_call_needs_its_kernel(self):
        lines = ["forward\tnvjet_tst_256x256_64x4", "forward\tcudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma", "\tampere_sgemm_of_no_action"]
        calls = {"gemm": 1, "attention": 1}
        self.assertTrue(judge(lines, calls)[0])
        self.assertFalse(judge(lines, {"gemm": 2, "attention": 1})[0])
        self.assertFalse(judge(lines[:1], calls)[0])
        self.assertFalse(judge([*lines, "forward\tampere_sgemm_128x64_tn"], calls)[0])
        self.assertFalse(judge([*lines, "error\tasking for records: insufficient privileges"], calls)[0])
        self.assertFalse(judge([], {"gemm": 0, "attention": 0})[0])

    def test_gradients_are_judged_one_by_one(self):
        allowed = {"a": 1e-2, "b": 2e-2}
        self.assertTrue(judge_gradients({"a": 1e-2, "b": 1e-2}, allowed)[0])
        passed, text, _ = judge_gradients({"a": 1.1e-2, "b": 1e-2}, allowed)
        self.assertFalse(passed)
        self.assertIn("1 too far; worst a", text)
        for wrong in ({"a": math.nan, "b": 0.0}, {"a": 0.0}, {}):
            self.assertFalse(judge_gradients(wrong, allowed)[0])

    def test_losses_that_are_no_numbers_differ(self):
        self.assertEqual(largest_difference({1: {"loss": 2.0}}, {1: {"loss": 2.5}}, "loss"), 0.25)
        self.assertTrue(math.isnan(largest_difference({1: {"loss": 2.0}, 2: {"loss": 1.0}}, {1: {"loss": math.nan}, 2: {"loss": 1.0}}, "loss")))
        self.assertEqual(largest_difference({1: {"loss": 2.0}}, {}, "loss"), math.inf)


if __name__ == "__main__":
    unittest.main()
