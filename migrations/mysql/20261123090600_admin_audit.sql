CREATE TABLE admin_audit (
    id         BIGINT        NOT NULL AUTO_INCREMENT,
    created_at DATETIME(3)   NOT NULL,
    actor      VARCHAR(128)  NOT NULL,
    action     VARCHAR(32)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    target     VARCHAR(400)  NOT NULL,
    detail     VARCHAR(1000) NULL,
    PRIMARY KEY (id),
    KEY admin_audit_created (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
