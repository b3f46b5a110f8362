ALTER TABLE policies
    ADD COLUMN second_factor VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL;
