#!/bin/sh
# Trains and serves with the Azure command line, whose `ml` extension is not needed. Arguments: nonce, account of blobs.
set -eu
nonce=$1 account=$2
name="cli-$(echo "$nonce" | cut -c1-8)"
W=/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/cloudml/providers/Microsoft.MachineLearningServices/workspaces/cloudml

rest() { # METHOD PATH API-VERSION [BODY] [QUERY]
  az rest --method "$1" --url "https://management.azure.com$2?api-version=$3" ${4:+--body "$4"} --query "${5:-name}" -o tsv
}

until_it_is() { # WANTED PATH API-VERSION QUERY
  state=
  while [ "$state" != "$1" ]; do
    state=$(rest get "$2" "$3" "" "$4")
    case $state in Failed | Canceled) echo "$2 is $state" && exit 1 ;; esac
  done
  echo "$2" "$state" | sed "s,.*/,,"
}

az login --service-principal --username "$AZURE_CLIENT_ID" --password "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID" \
  --query '[].state' -o tsv
az account set --subscription "$AZURE_SUBSCRIPTION_ID"
az group show --name cloudml --query properties.provisioningState -o tsv

store=$W/datastores/workspaceblobstore
container=$(rest get "$store" 2024-10-01-preview "" properties.containerName)
sas=$(rest post "$store/listSecrets" 2024-10-01-preview '{"expirableSecret": true}' sasToken)
mkdir "$TMPDIR/code"
echo "print('training on', open('nonce').read())" > "$TMPDIR/code/train.py"
cat > "$TMPDIR/code/score.py" <<'END'
def init():
    pass
def run(body):
    return open("nonce").read() + body
END
printf %s "$nonce" > "$TMPDIR/code/nonce"
for file in train.py score.py nonce; do
  az storage blob upload --account-name "$account" --sas-token "$sas" --container-name "$container" \
    --name "code/$name/$file" --file "$TMPDIR/code/$file" --only-show-errors --no-progress --query etag -o none
done
az storage blob list --account-name "$account" --sas-token "$sas" --container-name "$container" --prefix "code/$name/" \
  --only-show-errors --query 'length(@)' -o tsv

code=$W/codes/$name/versions/1 environment=$W/environments/$name/versions/1
rest put "$code" 2023-04-01 \
  "{\"properties\": {\"codeUri\": \"https://$account.blob.core.windows.net/$container/code/$name\"}}"
rest put "$environment" 2023-04-01-preview '{"properties": {"image": "python:3.11"}}'
rest put "$W/jobs/$name" 2025-01-01-preview "{\"properties\": {\"jobType\": \"Command\", \"command\": \"python train.py\",
  \"codeId\": \"$code\", \"environmentId\": \"$environment\", \"computeId\": \"$W/computes/cpu-cluster\"}}"
until_it_is Completed "$W/jobs/$name" 2024-01-01-preview properties.status
artifacts=$(rest get "$W/datastores/workspaceartifactstore" 2024-10-01-preview "" properties.containerName)
key=$(rest post "$W/datastores/workspaceartifactstore/listSecrets" 2024-10-01-preview '{}' key)
az storage blob download --account-name "$account" --account-key "$key" --container-name "$artifacts" \
  --name "ExperimentRun/dcid.$name/user_logs/std_log.txt" --file "$TMPDIR/log.txt" --only-show-errors --no-progress -o none
cat "$TMPDIR/log.txt"

endpoint=$W/onlineEndpoints/$name
rest put "$endpoint" 2023-04-01-preview '{"location": "eastus", "properties": {"authMode": "Key"}}'
until_it_is Succeeded "$endpoint" 2023-04-01-preview properties.provisioningState
rest put "$endpoint/deployments/blue" 2023-04-01-preview "{\"location\": \"eastus\", \"sku\": {\"name\": \"Default\",
  \"capacity\": 1}, \"properties\": {\"endpointComputeType\": \"Managed\", \"environmentId\": \"$environment\",
  \"requestSettings\": {\"requestTimeout\": \"PT60S\"},
  \"codeConfiguration\": {\"codeId\": \"$code\", \"scoringScript\": \"score.py\"}}}"
until_it_is Succeeded "$endpoint/deployments/blue" 2023-04-01-preview properties.provisioningState
rest put "$endpoint" 2023-04-01-preview \
  '{"location": "eastus", "properties": {"authMode": "Key", "traffic": {"blue": 100}}}'
until_it_is Succeeded "$endpoint" 2023-04-01-preview properties.provisioningState
primary=$(rest post "$endpoint/listKeys" 2022-02-01-preview '{}' primaryKey)
az rest --method post --url "$(rest get "$endpoint" 2023-04-01-preview "" properties.scoringUri)" \
  --skip-authorization-header --headers "Authorization=Bearer $primary" Content-Type=application/json --body '"!"' -o tsv
rest delete "$endpoint" 2023-04-01-preview
