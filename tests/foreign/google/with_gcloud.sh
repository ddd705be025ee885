#!/usr/bin/env bash
# By Google's own command line: a job, two versions, an endpoint that they share, its monitoring, and all of it away.
#
# with_gcloud.sh BUCKET IMAGE NONCE
set -euo pipefail
bucket=$1 image=$2 nonce=$3
export CLOUDSDK_CORE_DISABLE_PROMPTS=1 CLOUDSDK_AI_REGION=us-central1
gcloud storage buckets create "gs://$bucket" --location=us-central1

# -- train: two models, written to the bucket that jobs see under /gcs
cat >job.yaml <<YAML
workerPoolSpecs:
- machineSpec: {machineType: n1-standard-4}
  replicaCount: 1
  containerSpec:
    imageUri: python:3.11
    command: [python3, -c]
    args:
    - |
      import os, sys
      for version, word in (("one", "$nonce"), ("two", "$nonce-2")):
          folder = f"/gcs/$bucket/models/{version}"
          os.makedirs(folder)
          with open(folder + "/model.py", "w") as file:
              file.write("class Model:\n    def predict(self, rows):\n        return [%r for _ in rows]\n" % word)
              file.write("def load(folder):\n    return Model()\n")
      print("trained", os.environ["CLOUD_ML_JOB_ID"])
YAML
gcloud ai custom-jobs create --display-name=train --config=job.yaml
job=$(gcloud ai custom-jobs list --filter=displayName=train --format='value(name)')
timeout 120 gcloud ai custom-jobs stream-logs "$job" --polling-interval=1 | tee log.txt
grep -q "trained ${job##*/}" log.txt
state=$(gcloud ai custom-jobs describe "$job" --format='value(state)')
[ "$state" = JOB_STATE_SUCCEEDED ]
gcloud storage cat "gs://$bucket/models/one/model.py" | grep -q "$nonce"

# -- register: two versions
upload() { # VERSION MORE...
    gcloud ai models upload --display-name=fraud --artifact-uri="gs://$bucket/models/$1" --container-image-uri="$image" \
        --container-args=serve --container-predict-route=/invocations --container-health-route=/readyz "${@:2}"
}
upload one --model-id=fraud --version-aliases=prod
upload two --parent-model="projects/$CLOUDSDK_CORE_PROJECT/locations/us-central1/models/fraud" --version-aliases=canary
[ "$(gcloud ai models list-version fraud --format='value(versionId)' | sort | tr '\n' ' ')" = "1 2 " ]

# -- deploy: one, a canary beside it, then the canary alone
share() { gcloud ai endpoints describe e-1 --format="value(trafficSplit.$1)"; }
deployed() { # NAME: its id
    gcloud ai endpoints describe e-1 --format=json | python3 -c "
import json, sys
print(next(each['id'] for each in json.load(sys.stdin)['deployedModels'] if each['displayName'] == '$1'))"
}
gcloud ai endpoints create --display-name=fraud-api --endpoint-id=e-1
gcloud ai endpoints deploy-model e-1 --model=fraud@1 --display-name=one --machine-type=e2-standard-2 --traffic-split=0=100
echo '{"instances": [[1.0]]}' >request.json
gcloud ai endpoints predict e-1 --json-request=request.json | grep -q "$nonce"
one=$(deployed one)
gcloud ai endpoints deploy-model e-1 --model=fraud@2 --display-name=two --machine-type=e2-standard-2 \
    --traffic-split="0=20,$one=80"
two=$(deployed two)
[ "$(share "$one") $(share "$two")" = "80 20" ]
gcloud ai endpoints update e-1 --traffic-split="$one=0,$two=100"
gcloud ai endpoints raw-predict e-1 --request=@request.json | grep -q "$nonce-2"

# -- watch
gcloud ai model-monitoring-jobs create --display-name=watch --endpoint=e-1 --emails=me@example.org \
    --prediction-sampling-rate=0.5 --monitoring-frequency=1 --feature-thresholds=amount=0.2
watch=$(gcloud ai model-monitoring-jobs list --format='value(name)')
gcloud ai model-monitoring-jobs pause "$watch"
[ "$(gcloud ai model-monitoring-jobs describe "$watch" --format='value(state)')" = JOB_STATE_PAUSED ]
gcloud ai model-monitoring-jobs resume "$watch"
gcloud ai model-monitoring-jobs delete "$watch"

# -- and all of it away
gcloud ai endpoints undeploy-model e-1 --deployed-model-id="$one"
gcloud ai endpoints undeploy-model e-1 --deployed-model-id="$two"
gcloud ai endpoints delete e-1
gcloud ai models delete-version fraud@2
gcloud ai models delete fraud
[ -z "$(gcloud ai endpoints list --format='value(name)')$(gcloud ai models list --format='value(name)')" ]
echo "said $nonce"
