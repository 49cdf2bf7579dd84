"""Texts that hold what the checks of records look for, whole and in pieces."""

from __future__ import annotations

from hypothesis import strategies as st
from strategies import TEXT

PROSE = "It grows in the hills of Assam, in Fujian and in Kenya. Tea is made of it. " * 2
SCRAPS = st.sampled_from((
    " ", "  ", "\n", "\r\n", "\t", "\u3000", "\u2028", "\xa0", "\x07", "\x85", "\x1c", "a", "Z", "é", "中", "。",
    "，", "“", "🚀", "<", "|", ">", "[", "]", "/", "&", "\\", "{", "}", "A", "I", "G", "P", "T", "_", ":", "#", "：",
    "；", "<s>", "</s>", "<|im_end|>", "<｜end｜>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<eos>", "<bos>",
    "<pad>", "<start_of_turn>", "</tool_call>", "<tool_call>", "<b>", "<br/>", "&amp;", "&#39;", "& ", "\\n", "\\nu",
    "{{name}}", "{{ x", "AI", "GPT", "AIs", "As an AI language model, I", "I was trained by OpenAI",
    "作为一个人工智能语言模型，我", "我是", "语言模型", "指", "指令：", "1. Instruction:", "\n### Instruction",
    "# 1. Instruction：", "\n2. 指令：", "<think>", "</think>", "<|begin_of_thought|>", "◁think▷", "◁/think▷", "\ufffd",
    "Ã¨", "crÃ¨me", "â€™", "â€¨", "§§", "Ак", "±√", "\u200b", "\u200d", "👩\u200d🚀", "e\u0301", "\u0301", "각", "ᄀ",
    "ᅡ", "が", "か\u3099", "Å", "\u0374", "\U000e0041", "\u202e", "ש", PROSE, PROSE + "They like the",
    PROSE + "In May,", "茶。" * 60 + "好，", "and the cat sat " * 9, "哈哈，" * 60, "|  |\n" * 40, "x" * 130,
    "The meeting is moved.", "她每天开车上班。",
))  # fmt: skip
RICH = st.lists(SCRAPS | TEXT, max_size=5).map("".join)
"""Texts of what the checks look for, whole and in pieces."""
