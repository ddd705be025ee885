"""From neutral resources to an instance type, and AWS's own images for training: dated tables of facts.

Instance types: the EC2 types' published specifications, and membership in the enumerations ``TrainingInstanceType``
and ``ProductionVariantInstanceType`` of botocore 1.44 (November 2026). Images: ``image_uri_config`` of sagemaker-core
2.27.0 (November 2026), ``sklearn.json`` and ``pytorch.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloudml.errors import ConfigError, Unsupported
from cloudml.specs import Resources

GIB = 1024**3


@dataclass(frozen=True)
class Instance:
    """``cpu`` in cores, ``memory`` in GiB, ``gpu_memory`` of one GPU in GiB."""

    name: str
    cpu: int
    memory: int
    gpu: int = 0
    gpu_type: str = ""
    gpu_memory: int = 0


# Smallest first: the first that fits is taken. All can train and host.
INSTANCES: tuple[Instance, ...] = (
    Instance("ml.m5.large", 2, 8),
    Instance("ml.m5.xlarge", 4, 16),
    Instance("ml.m5.2xlarge", 8, 32),
    Instance("ml.m5.4xlarge", 16, 64),
    Instance("ml.m6i.8xlarge", 32, 128),
    Instance("ml.m6i.16xlarge", 64, 256),
    Instance("ml.m5.24xlarge", 96, 384),
    Instance("ml.r5.24xlarge", 96, 768),
    Instance("ml.g4dn.xlarge", 4, 16, 1, "t4", 16),
    Instance("ml.g4dn.2xlarge", 8, 32, 1, "t4", 16),
    Instance("ml.g4dn.4xlarge", 16, 64, 1, "t4", 16),
    Instance("ml.g6.xlarge", 4, 16, 1, "l4", 24),
    Instance("ml.g6.2xlarge", 8, 32, 1, "l4", 24),
    Instance("ml.g6.4xlarge", 16, 64, 1, "l4", 24),
    Instance("ml.g5.xlarge", 4, 16, 1, "a10g", 24),
    Instance("ml.g5.2xlarge", 8, 32, 1, "a10g", 24),
    Instance("ml.g5.4xlarge", 16, 64, 1, "a10g", 24),
    Instance("ml.g5.8xlarge", 32, 128, 1, "a10g", 24),
    Instance("ml.g6e.xlarge", 4, 32, 1, "l40s", 48),
    Instance("ml.p3.2xlarge", 8, 61, 1, "v100", 16),
    Instance("ml.p5.4xlarge", 16, 256, 1, "h100", 80),
    Instance("ml.g4dn.12xlarge", 48, 192, 4, "t4", 16),
    Instance("ml.g6.12xlarge", 48, 192, 4, "l4", 24),
    Instance("ml.g5.12xlarge", 48, 192, 4, "a10g", 24),
    Instance("ml.g6e.12xlarge", 48, 384, 4, "l40s", 48),
    Instance("ml.g6.48xlarge", 192, 768, 8, "l4", 24),
    Instance("ml.g5.48xlarge", 192, 768, 8, "a10g", 24),
    Instance("ml.p4d.24xlarge", 96, 1152, 8, "a100", 40),
    Instance("ml.p5.48xlarge", 192, 2048, 8, "h100", 80),
    Instance("ml.p5en.48xlarge", 192, 2048, 8, "h200", 141),
)


def choose(resources: Resources, where: str) -> str:
    """The smallest instance type that has what is asked for. ConfigError for a GPU that SageMaker does not have."""
    if resources.shm is not None:
        raise Unsupported(
            f"{where}: SageMaker gives containers the instance's shared memory; leave 'resources.shm' out"
        )
    gpu_type = resources.gpu_type.lower() if resources.gpu_type else None
    known = sorted({each.gpu_type for each in INSTANCES if each.gpu_type})
    if gpu_type is not None and gpu_type not in known:
        raise ConfigError(f"{where}: there is no GPU {resources.gpu_type!r} here", hint=f"known: {', '.join(known)}")
    wanted = resources.gpu or (1 if gpu_type else 0)
    for each in INSTANCES:
        fits = each.cpu >= resources.cpu and each.memory * GIB >= (resources.memory or 0)
        if fits and (each.gpu >= wanted if wanted else not each.gpu) and gpu_type in (None, each.gpu_type):
            return each.name
    raise ConfigError(
        f"{where}: no instance type of the table has that much",
        hint="ask for less, or name one: options: {sagemaker: {instance_type: ml.…}}",
    )


SKLEARN = "sagemaker-scikit-learn:1.9-0-cpu-py3"
PYTORCH = "pytorch-training:2.10.0-gpu-py313"
_SKLEARN = """
af-south-1 510948584623 ap-east-1 651117190479 ap-northeast-1 354813040037 ap-northeast-2 366743142698
ap-northeast-3 867004704886 ap-south-1 720646828776 ap-south-2 628508329040 ap-southeast-1 121021644041
ap-southeast-2 783357654285 ap-southeast-3 951798379941 ap-southeast-4 106583098589 ca-central-1 341280168497
ca-west-1 190319476487 cn-north-1 450853457545 cn-northwest-1 451049120500 eu-central-1 492215442770
eu-central-2 680994064768 eu-north-1 662702820516 eu-south-1 978288397137 eu-south-2 104374241257
eu-west-1 141502667606 eu-west-2 764974769150 eu-west-3 659782779980 il-central-1 898809789911
me-central-1 272398656194 me-south-1 801668240914 sa-east-1 737474898029 us-east-1 683313688378
us-east-2 257758044811 us-gov-east-1 237065988967 us-gov-west-1 414596584902 us-west-1 746614075791
us-west-2 246618743249
"""
_PYTORCH = """
af-south-1 626614931356 ap-east-1 871362719292 ap-northeast-1 763104351884 ap-northeast-2 763104351884
ap-northeast-3 364406365360 ap-south-1 763104351884 ap-south-2 772153158452 ap-southeast-1 763104351884
ap-southeast-2 763104351884 ap-southeast-3 907027046896 ap-southeast-4 457447274322 ap-southeast-5 550225433462
ap-southeast-7 590183813437 ca-central-1 763104351884 ca-west-1 204538143572 cn-north-1 727897471807
cn-northwest-1 727897471807 eu-central-1 763104351884 eu-central-2 380420809688 eu-north-1 763104351884
eu-south-1 692866216735 eu-south-2 503227376785 eu-west-1 763104351884 eu-west-2 763104351884 eu-west-3 763104351884
il-central-1 780543022126 me-central-1 914824155844 me-south-1 217643126080 mx-central-1 637423239942
sa-east-1 763104351884 us-east-1 763104351884 us-east-2 763104351884 us-gov-east-1 446045086412
us-gov-west-1 442386744353 us-west-1 763104351884 us-west-2 763104351884
"""


def _accounts(text: str) -> Mapping[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


REGISTRIES: Mapping[str, Mapping[str, str]] = {SKLEARN: _accounts(_SKLEARN), PYTORCH: _accounts(_PYTORCH)}

REGIONS = frozenset(region for accounts in REGISTRIES.values() for region in accounts)  # that have SageMaker for sure


def suffix(region: str) -> str:
    """The domain that AWS's names end with in a region."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def training_image(region: str, instance: str) -> str:
    """AWS's own image: scikit-learn's on CPUs, PyTorch's on GPUs. ConfigError in a region that is not in the table."""
    image = PYTORCH if instance.startswith(("ml.g", "ml.p")) else SKLEARN
    account = REGISTRIES[image].get(region)
    if account is None:
        raise ConfigError(f"no training image is known in {region}", hint="name one: 'image' of the job")
    return f"{account}.dkr.ecr.{region}.{suffix(region)}/{image}"
