#!/bin/sh
# Trains and serves with the AWS command line. Arguments: nonce, image to serve from, role, bucket.
set -eu
nonce=$1 image=$2 role=$3 bucket=$4
name=foreign-cli
here=$(dirname "$0")

aws sts get-caller-identity --query Arn --output text
aws s3 cp --no-progress "$here/train.py" "s3://$bucket/source/train.py"
aws sagemaker create-training-job --training-job-name "$name" --role-arn "$role" \
  --algorithm-specification '{"TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312",
    "TrainingInputMode": "File", "ContainerEntrypoint": ["python3", "/opt/ml/input/data/source/train.py"]}' \
  --hyper-parameters "nonce=$nonce" \
  --input-data-config '[{"ChannelName": "source", "DataSource": {"S3DataSource":
    {"S3DataType": "S3Prefix", "S3Uri": "s3://'"$bucket"'/source/"}}}]' \
  --output-data-config "S3OutputPath=s3://$bucket/out" \
  --resource-config InstanceType=ml.m5.large,InstanceCount=1,VolumeSizeInGB=10 \
  --stopping-condition MaxRuntimeInSeconds=600 --query TrainingJobArn --output text
status=InProgress
while [ "$status" = InProgress ]; do
  status=$(aws sagemaker describe-training-job --training-job-name "$name" --query TrainingJobStatus --output text)
done
echo "job $status"
stream=$(aws logs describe-log-streams --log-group-name /aws/sagemaker/TrainingJobs \
  --log-stream-name-prefix "$name/" --query 'logStreams[0].logStreamName' --output text)
aws logs get-log-events --log-group-name /aws/sagemaker/TrainingJobs --log-stream-name "$stream" \
  --query 'events[].message' --output text

archive=$(aws sagemaker describe-training-job --training-job-name "$name" \
  --query ModelArtifacts.S3ModelArtifacts --output text)
aws s3 cp --no-progress "$archive" "$TMPDIR/model.tar.gz"
tar -xzOf "$TMPDIR/model.tar.gz" model.py | grep -c "$nonce"

aws sagemaker create-model --model-name "$name" --execution-role-arn "$role" \
  --primary-container "Image=$image,ModelDataUrl=$archive" --query ModelArn --output text
aws sagemaker create-endpoint-config --endpoint-config-name "$name" --production-variants \
  "VariantName=main,ModelName=$name,InstanceType=ml.m5.large,InitialInstanceCount=1,InitialVariantWeight=1" \
  --query EndpointConfigArn --output text
aws sagemaker create-endpoint --endpoint-name "$name" --endpoint-config-name "$name" --query EndpointArn --output text
status=Creating
while [ "$status" = Creating ]; do
  status=$(aws sagemaker describe-endpoint --endpoint-name "$name" --query EndpointStatus --output text)
done
echo "endpoint $status"
printf '{"instances": [[1.0]]}' > "$TMPDIR/body.json"
aws sagemaker-runtime invoke-endpoint --endpoint-name "$name" --content-type application/json \
  --body "fileb://$TMPDIR/body.json" "$TMPDIR/answer.json" --query InvokedProductionVariant --output text
echo "answer $(cat "$TMPDIR/answer.json")"
aws sagemaker delete-endpoint --endpoint-name "$name"
