#!/usr/bin/env bash
# GRPO of a critic with verl, the trainer that DeepCritic's authors used, on one machine with eight GPUs:
#
#   python examples/verl_data.py runs/x/label/labelled.jsonl train.parquet
#   python examples/verl_data.py runs/x/prepare.validation/examples.jsonl validation.parquet
#   examples/verl_grpo.sh runs/x/sft/model
#
# Install verl by its own instructions. The rates and sizes are those of conf/experiment/deepcritic_7b_rl_prm800k.yaml, which
# marks the unconfirmed ones. Add more settings at the end: examples/verl_grpo.sh MODEL trainer.nnodes=2
set -euo pipefail
model=$1
shift
reward=$(python -c 'import deepcritic.rewards; print(deepcritic.rewards.__file__)')
exec python -m verl.trainer.main_ppo \
  algorithm.adv_estimator=grpo \
  data.train_files=train.parquet \
  data.val_files=validation.parquet \
  data.train_batch_size=128 \
  data.max_prompt_length=2048 \
  data.max_response_length=8192 \
  data.filter_overlong_prompts=true \
  actor_rollout_ref.model.path="$model" \
  actor_rollout_ref.actor.optim.lr=1e-6 \
  actor_rollout_ref.actor.ppo_mini_batch_size=128 \
  actor_rollout_ref.actor.use_dynamic_bsz=true \
  actor_rollout_ref.actor.use_kl_loss=true \
  actor_rollout_ref.actor.kl_loss_coef=0.001 \
  actor_rollout_ref.actor.clip_ratio_high=0.28 \
  actor_rollout_ref.rollout.name=vllm \
  actor_rollout_ref.rollout.n=8 \
  actor_rollout_ref.rollout.temperature=1.0 \
  custom_reward_function.path="$reward" \
  custom_reward_function.name=compute_score \
  trainer.n_gpus_per_node=8 \
  trainer.nnodes=1 \
  trainer.total_epochs=2 \
  "$@"
