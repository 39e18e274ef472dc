BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'kept');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'jaxhpo','{"format": 1, "space": [{"name": "lr", "kind": "log_uniform", "low": 0.0001, "high": 1.0, "shape": [], "conditions": []}, {"name": "n", "kind": "integer", "low": 1, "high": 9, "step": 1, "shape": [], "conditions": []}, {"name": "kind", "kind": "choice", "options": ["a", "b"], "weights": null, "shape": [], "conditions": []}, {"name": "kind.a.w", "kind": "uniform", "low": 0.0, "high": 1.0, "shape": [], "conditions": [["kind", "a"]]}], "space_hash": "cabd1ca112ebfc01", "tree": {"dict": ["lr", "n", "kind"], "children": [{"leaf": 0}, {"leaf": 1}, {"choice": 2, "keys": ["a", "b"], "options": [{"dict": ["w"], "children": [{"leaf": 3}]}, {"dict": [], "children": []}]}]}, "constraints": [], "sampler": "qmc(sequence=sobol, scramble=True, batch_size=1)", "sampler_name": "qmc", "seed": 3, "key_impl": "threefry2x32", "x64": false, "versions": {"jaxhpo": "0.1.0", "jax": "0.10.2"}}');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,4.01104713362154630118e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,3.01104713362154630118e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,2,1,7.00026819582624160176e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,2,6.00026819582624160176e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,3,1,3.00538227757129572381e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,3,2,2.00538227757129572381e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,5,1,2.23197265458222249279e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,5,2,1.23197265458222249279e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,6,1,9.00170295557096622474e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,6,2,8.00170295557096622474e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,7,1,5.00084860660468422111e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,7,2,4.00084860660468422111e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,8,1,8.03491498853456675988e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,8,2,7.0349149885345658717e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,9,1,4.06031837442631093892e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,9,2,3.06031837442631138301e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,11,1,5.00294205359164,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,11,2,4.00294205359164,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,12,1,7.1168007191018380908e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(20,12,2,6.1168007191018380908e+00,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'lr',1.10471336215464607799e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(2,1,'n',3.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(3,1,'kind',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(4,2,'lr',2.68195826241236822198e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(5,2,'n',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(6,2,'kind',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(7,2,'kind.a.w',9.56747233867645263671e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(8,3,'lr',5.38227757129558156967e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(9,3,'n',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(10,3,'kind',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(11,4,'lr',7.33992566851520811255e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(12,4,'n',9.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(13,4,'kind',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(14,4,'kind.a.w',5.46343684196472167968e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(15,5,'lr',2.31972654582222548302e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(16,5,'n',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(17,5,'kind',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(18,5,'kind.a.w',0.67896568775177,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(19,6,'lr',1.70295557096687396117e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(20,6,'n',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(21,6,'kind',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(22,7,'lr',8.48606604684283886107e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(23,7,'n',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(24,7,'kind',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(25,7,'kind.a.w',8.23745667934417724609e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(26,8,'lr',3.49149885345662741586e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(27,8,'n',7.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(28,8,'kind',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(29,9,'lr',6.03183744263113066907e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(30,9,'n',3.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(31,9,'kind',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(32,9,'kind.a.w',8.29607844352722167968e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(33,10,'lr',4.27288155045497605472e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(34,10,'n',9.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(35,10,'kind',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(36,11,'lr',2.94205359163983047252e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(37,11,'n',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(38,11,'kind',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(39,11,'kind.a.w',4.14255499839782714843e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(40,12,'lr',1.16800719101838521019e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(41,12,'n',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(42,12,'kind',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
INSERT INTO "trial_params" VALUES(43,13,'lr',0.5,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(44,13,'n',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO "trial_params" VALUES(45,13,'kind',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'jaxhpo','{"unit": [0.5108124017715454, 0.2777777910232544, 0.75, 0.5], "owner": ["host", 1, "2", "m", "b", "n"], "compile_seconds": 1.406330046000221}');
INSERT INTO "trial_system_attributes" VALUES(2,2,'jaxhpo','{"unit": [0.10711300373077393, 0.6111111044883728, 0.25, 0.9567472338676453], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(3,3,'jaxhpo','{"unit": [0.43274152278900146, 0.1666666716337204, 0.75, 0.5], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(4,4,'jaxhpo','{"unit": [0.9664229154586792, 0.944444477558136, 0.25, 0.5463436841964722], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(5,5,'jaxhpo','{"unit": [0.8413591980934143, 0.0555555559694767, 0.25, 0.67896568775177], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(6,6,'jaxhpo','{"unit": [0.307800829410553, 0.8333333134651184, 0.75, 0.5], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(7,7,'jaxhpo','{"unit": [0.23217660188674927, 0.3888888955116272, 0.25, 0.8237456679344177], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(8,8,'jaxhpo','{"unit": [0.6357529759407043, 0.7222222089767456, 0.75, 0.5], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(9,9,'jaxhpo','{"unit": [0.695112407207489, 0.2777777910232544, 0.25, 0.08296078443527222], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(10,10,'jaxhpo','{"unit": [0.1576802134513855, 0.944444477558136, 0.75, 0.5], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(11,11,'jaxhpo','{"unit": [0.36716264486312866, 0.3888888955116272, 0.25, 0.4142554998397827], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(12,12,'jaxhpo','{"unit": [0.7668613791465759, 0.6111111044883728, 0.75, 0.5], "owner": ["host", 1, "2", "m", "b", "n"]}');
INSERT INTO "trial_system_attributes" VALUES(13,13,'jaxhpo','{"unit": [0.9247425010840047, 0.16666666666666666, 0.75, 0.5]}');
INSERT INTO "trial_system_attributes" VALUES(14,14,'fixed_params','{"lr": 0.25, "n": 3, "kind": "b"}');
INSERT INTO "trial_system_attributes" VALUES(15,14,'jaxhpo_enqueued','"9d487e92775e8aa0"');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,4,'reason','"RuntimeError: too many"');
INSERT INTO "trial_user_attributes" VALUES(2,4,'error','"Traceback (most recent call last):\n  File \"/jaxhpo/study/reporting/_generators.py\", line 66, in drive\n    item = next(generator)\n           ^^^^^^^^^^^^^^^\n  File \"/tests/study/test_kept_schema.py\", line 26, in objective\n    raise RuntimeError(\"too many\")\nRuntimeError: too many\n"');
INSERT INTO "trial_user_attributes" VALUES(3,10,'reason','"RuntimeError: too many"');
INSERT INTO "trial_user_attributes" VALUES(4,10,'error','"Traceback (most recent call last):\n  File \"/jaxhpo/study/reporting/_generators.py\", line 66, in drive\n    item = next(generator)\n           ^^^^^^^^^^^^^^^\n  File \"/tests/study/test_kept_schema.py\", line 26, in objective\n    raise RuntimeError(\"too many\")\nRuntimeError: too many\n"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,3.01104713362154630118e+00,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,6.00026819582624160176e+00,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,2.00538227757129572381e+00,'FINITE');
INSERT INTO "trial_values" VALUES(4,5,0,1.23197265458222249279e+00,'FINITE');
INSERT INTO "trial_values" VALUES(5,6,0,8.00170295557096622474e+00,'FINITE');
INSERT INTO "trial_values" VALUES(6,7,0,4.00084860660468422111e+00,'FINITE');
INSERT INTO "trial_values" VALUES(7,8,0,7.0349149885345658717e+00,'FINITE');
INSERT INTO "trial_values" VALUES(8,9,0,3.06031837442631138301e+00,'FINITE');
INSERT INTO "trial_values" VALUES(9,11,0,4.00294205359164,'FINITE');
INSERT INTO "trial_values" VALUES(10,12,0,6.1168007191018380908e+00,'FINITE');
INSERT INTO "trial_values" VALUES(11,13,0,0.25,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-30 21:04:50.931224','2026-11-30 21:04:50.966524');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-30 21:04:50.979237','2026-11-30 21:04:50.998969');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-30 21:04:51.015486','2026-11-30 21:04:51.020441');
INSERT INTO "trials" VALUES(4,3,1,'FAIL','2026-11-30 21:04:51.035574','2026-11-30 21:04:51.047522');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-30 21:04:51.064273','2026-11-30 21:04:51.074243');
INSERT INTO "trials" VALUES(6,5,1,'COMPLETE','2026-11-30 21:04:51.116363','2026-11-30 21:04:51.128249');
INSERT INTO "trials" VALUES(7,6,1,'COMPLETE','2026-11-30 21:04:51.153398','2026-11-30 21:04:51.160338');
INSERT INTO "trials" VALUES(8,7,1,'COMPLETE','2026-11-30 21:04:51.185812','2026-11-30 21:04:51.205314');
INSERT INTO "trials" VALUES(9,8,1,'COMPLETE','2026-11-30 21:04:51.223310','2026-11-30 21:04:51.231958');
INSERT INTO "trials" VALUES(10,9,1,'FAIL','2026-11-30 21:04:51.251625','2026-11-30 21:04:51.256387');
INSERT INTO "trials" VALUES(11,10,1,'COMPLETE','2026-11-30 21:04:51.275543','2026-11-30 21:04:51.289994');
INSERT INTO "trials" VALUES(12,11,1,'COMPLETE','2026-11-30 21:04:51.309461','2026-11-30 21:04:51.325053');
INSERT INTO "trials" VALUES(13,12,1,'COMPLETE','2026-11-30 21:04:51.339936','2026-11-30 21:04:51.339936');
INSERT INTO "trials" VALUES(14,13,1,'WAITING',NULL,NULL);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;