"""Why a variant lost accuracy: which operators quantization hurts, and what leaving them out gives.

``operators`` pairs the operators of the float and the quantized file, ``local`` measures the
error that each makes by itself, ``ablation`` what keeping one in float does to the outputs.
``task`` puts them together in a conversion process.
"""
