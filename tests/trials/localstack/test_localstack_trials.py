"""The ten stories, with LocalStack's S3, IAM, STS, CloudWatch and logs under SageMaker."""

from __future__ import annotations

from trial_stories import Stories

from cloudml.emulation.running import Running


class TestLocalStack(Stories):
    def test_it_is_localstack_that_answers(self, running: Running) -> None:
        said = (running.folder / "sagemaker" / "localstack" / "log").read_text()
        assert "AWS s3.CreateBucket => 200" in said
