"""Jobs of the NLP worker. Those that train have a queue of their own, so that none holds up an embedding."""

from callboard_shared.jobs.nlp.encode import (
    CLASSIFY,
    DEFAULT_CLASSIFIER,
    DEFAULT_ENCODER,
    EMBED,
    MAX_TEXT_CHARS,
    SIMILARITY,
    Classified,
    ClassifyInput,
    ClassifyOutput,
    EmbedInput,
    EmbedOutput,
    SimilarityInput,
    SimilarityOutput,
    Text,
)
from callboard_shared.jobs.nlp.finetune import (
    EVALUATE,
    FINETUNE,
    Confusion,
    Dataset,
    DatasetFile,
    EvaluateInput,
    EvaluateOutput,
    FinetuneInput,
    FinetuneOutput,
    Row,
)
from callboard_shared.jobs.nlp.transformer import (
    DEFAULT_TRANSFORMER,
    TRANSFORMER_GENERATE,
    TRANSFORMER_TRAIN,
    TransformerGenerateInput,
    TransformerGenerateOutput,
    TransformerTrainInput,
    TransformerTrainOutput,
)
from callboard_shared.jobs.nlp.word2vec import (
    DEFAULT_WORD_VECTORS,
    WORD2VEC_QUERY,
    WORD2VEC_TRAIN,
    MostSimilar,
    Word2VecQueryInput,
    Word2VecQueryOutput,
    Word2VecTrainInput,
    Word2VecTrainOutput,
)

__all__ = [
    "CLASSIFY", "DEFAULT_CLASSIFIER", "DEFAULT_ENCODER", "DEFAULT_TRANSFORMER", "DEFAULT_WORD_VECTORS", "EMBED",
    "EVALUATE", "FINETUNE", "MAX_TEXT_CHARS", "SIMILARITY", "TRANSFORMER_GENERATE", "TRANSFORMER_TRAIN",
    "WORD2VEC_QUERY", "WORD2VEC_TRAIN", "Classified", "ClassifyInput", "ClassifyOutput", "Confusion", "Dataset",
    "DatasetFile", "EmbedInput", "EmbedOutput", "EvaluateInput", "EvaluateOutput", "FinetuneInput",
    "FinetuneOutput", "MostSimilar", "Row", "SimilarityInput", "SimilarityOutput", "Text",
    "TransformerGenerateInput", "TransformerGenerateOutput", "TransformerTrainInput", "TransformerTrainOutput",
    "Word2VecQueryInput", "Word2VecQueryOutput", "Word2VecTrainInput", "Word2VecTrainOutput",
]  # fmt: skip
